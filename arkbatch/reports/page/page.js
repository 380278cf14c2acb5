
"use strict";
// Shows what stands in the data block, or what the server that the page came from sends. Whatever comes from a run is
// untrusted: it reaches the page through textContent and canvas text, never as markup.
(() => {
  const WORDS = {
    en: {
      state: {
        finished: (d) => `Finished: all ${whole(d.rows)} rows done`,
        failed: (d) => `Finished, but ${whole(d.failed)} of ${whole(d.rows)} rows failed`,
        running: (d) => `Running: ${share(d.done + d.failed, d.rows)} of ${whole(d.rows)} rows`,
        halted: (d) => `Stopped with ${whole(d.left)} rows left`,
        unfinished: (d) => `Not finished: ${whole(d.left)} of ${whole(d.rows)} rows left, and no session is running`,
      },
      waiting: "Waiting for the run …", reading: "Still reading the records; the charts are not complete yet.",
      lost: "The connection is lost. The page shows the last state it heard of.", over: "The session has ended.",
      simulated: "simulated", from: "from", to: "to", updated: "as of",
      done: "rows done", failedRows: "rows failed", left: "rows left", tokens: "tokens", thrown: "discarded",
      thrownWhy: "billed, but the answer was no use", speed: "rows a minute", took: "worked for", latency: "usual answer time",
      retried: "failed calls", cost: "cost", unknown: "unknown", unpriced: "rows without a price", forAll: "for all rows about", listPrice: "at list prices",
      ifReal: "if it had been real", costSoFar: "Cost so far", in: "in", out: "out", about: "about", rest: "left",
      inFlight: "in flight", bound: "limited by", stop: "Stop", stopping: "Stopping …",
      sureStop: "Stop the run? Calls in flight are waited for, and the run can be continued later.",
      notStopped: "The stop was refused: open the address that the terminal shows.",
      next: {
        running: "Look in a terminal:", halted: "When that is fixed, resume with:", unfinished: "Resume with:",
        failed: "Send the failed rows again:", fix: "Fix the failed rows in the input, then run it with --rebase:", finished: "Read one answer:",
        table: "Write the table with its answers:",
      },
      endings: "Answers ended with", failures: "Failed rows", such: "such as row", last: "The last failed rows", row: "row", id: "custom_id", why: "why", prompt: "prompt",
      when: "when", overTime: "Over time", zoom: "Drag over a chart to look closer; double-click to go back.", all: "Show everything",
      each: (w) => `Each step is ${time(w)}.`,
      requests: "Requests a minute", tokensMinute: "Tokens a minute", concurrency: "Calls in flight", retries: "Failed calls (refused, failed, timed out), a minute",
      answers: "Time of an answer", firstToken: "Time to the first token", limit: "limit", value: "value", time: "time", count: "answers",
      none: "none", slow: "Slow calls: ", comma: ", ", andMore: (n) => ` and ${n} more`,
      straggler: (row, silent, usual) => `row ${row} for ${silent} (usually ${usual})`,
      usage: "Tokens and cost by model", model: "model", endpoint: "endpoint", tier: "tier", okay: "done", bad: "failed", calls: "calls",
      total: "all", thrownShort: "discarded", never: "(bad lines, never sent)", noAnswer: "(no answer)",
      parcels: "Batch files", parcel: "parcel", rows: "rows", rowsDone: "rows done", parcelState: "state", ordered: "ordered", waited: "waited", back: "came back", moreParcels: (n) => `and ${whole(n)} more`,
      stage: {
        cut: "written", putting: "being uploaded", put: "uploaded, waits to be ordered", starting: "ordered, no reply yet", started: "ordered", ended: "ended, being fetched",
        merging: "being recorded", merged: "recorded", closed: "recorded", exported: "exported, waits for collect",
      },
      sessions: "Sessions", command: "command", began: "began", ended: "ended", limits: "limits", show: "Show",
      more: (n) => `and ${whole(n)} earlier sessions`,
      ending: { "": "killed, or the disk was full" }, now: "running", steered: "Changed while it worked", by: "by", what: "what", marks: "Dotted lines mark changes by hand.", paused: "paused since", asked: "What was asked", input: "input", other: "中文",
      kind: {}, advice: {}, meter: {}, others: "others", limitName: {}, tierName: {},
    },
    zh: {
      state: {
        finished: (d) => `已完成：${whole(d.rows)} 行全部成功`,
        failed: (d) => `已完成，但 ${whole(d.rows)} 行中有 ${whole(d.failed)} 行失败`,
        running: (d) => `运行中：已完成 ${whole(d.rows)} 行的 ${share(d.done + d.failed, d.rows)}`,
        halted: (d) => `已中止，还剩 ${whole(d.left)} 行`,
        unfinished: (d) => `未完成：${whole(d.rows)} 行中还剩 ${whole(d.left)} 行，当前没有会话在运行`,
      },
      waiting: "正在等待运行数据……", reading: "仍在读取记录，图表尚不完整。",
      lost: "连接已断开，页面显示的是最后收到的状态。", over: "会话已结束。",
      simulated: "模拟", from: "从", to: "到", updated: "截至",
      done: "成功行数", failedRows: "失败行数", left: "剩余行数", tokens: "Token 总数", thrown: "浪费",
      thrownWhy: "已计费，但回答无法使用", speed: "行/分钟", took: "运行时长", latency: "回答耗时中位数",
      retried: "无效请求", cost: "费用", unknown: "未知", unpriced: "行没有价格", forAll: "全部完成约", listPrice: "按目录价",
      ifReal: "模拟运行，未实际计费", costSoFar: "累计费用", in: "输入", out: "输出", about: "约", rest: "后完成",
      inFlight: "个请求进行中", bound: "瓶颈：", stop: "停止", stopping: "正在停止……",
      sureStop: "停止运行？会等待进行中的请求结束，之后可以继续运行。",
      notStopped: "停止请求被拒绝：请打开终端里显示的地址。",
      next: { running: "在终端查看：", halted: "问题解决后继续：", unfinished: "继续运行：", failed: "重新发送失败的行：", fix: "在输入文件里改好失败的行，再用 --rebase 运行：", finished: "查看一条回答：", table: "把回答写入表格：" },
      endings: "回答的结束方式", failures: "失败的行", such: "例如第", last: "最近失败的行", row: "行", id: "custom_id", why: "原因", prompt: "提示词",
      when: "时间", overTime: "变化过程", zoom: "在图上拖动可放大，双击还原。", all: "显示全部",
      each: (w) => `每格为 ${time(w)}。`,
      requests: "每分钟请求数", tokensMinute: "每分钟 Token 数", concurrency: "并发请求数", retries: "每分钟无效请求（被拒、失败、超时）",
      answers: "回答耗时", firstToken: "首 Token 耗时", limit: "上限", value: "数值", time: "时间", count: "回答数",
      none: "无", slow: "缓慢的请求：", comma: "，", andMore: (n) => `，另有 ${n} 个`,
      straggler: (row, silent, usual) => `第 ${row} 行已等待 ${silent}（通常 ${usual}）`,
      usage: "各模型 Token 用量与费用", model: "模型", endpoint: "接口", tier: "服务等级", okay: "成功", bad: "失败", calls: "请求数",
      total: "合计", thrownShort: "浪费", never: "（无效行，未发送）", noAnswer: "（无回答）",
      parcels: "批量文件", parcel: "文件", rows: "行数", rowsDone: "完成行数", parcelState: "状态", ordered: "提交时间", waited: "等待", back: "退回", moreParcels: (n) => `另有 ${whole(n)} 个`,
      stage: {
        cut: "已写好", putting: "上传中", put: "已上传，等待提交", starting: "已提交，尚无回复", started: "已提交", ended: "已结束，正在取回",
        merging: "正在记录", merged: "已记录", closed: "已记录", exported: "已导出，等待 collect",
      },
      sessions: "会话", command: "命令", began: "开始", ended: "结束", limits: "上限", show: "查看",
      more: (n) => `以及更早的 ${whole(n)} 个会话`,
      ending: {
        finished: "完成", stopped: "被停止", halted: "中止", abandoned: "被放弃", "disk full": "磁盘已满", "": "进程被终止或磁盘已满",
        "nothing left": "没有剩余的行",
      },
      steered: "运行中的人工调整", by: "来源", what: "内容", marks: "点线表示人工调整。", paused: "暂停于",
      now: "运行中", asked: "请求参数", input: "输入文件", other: "English",
      meter: { input: "输入", cached: "其中缓存", output: "输出", reasoning: "其中思考" },
      kind: {
        bad_row: "无效行", bad_file: "文件无效", invalid_request: "参数无效", too_long: "内容过长", blocked: "内容审核拦截", truncated: "回答被截断",
        empty: "回答为空", invalid_output: "回答不符合要求", unfinished: "工具调用未结束", bad_reply: "回复无法使用", not_found: "模型不存在", timeout: "超时", connection: "连接失败",
        server_error: "服务端错误", overloaded: "服务过载", rate_limited: "触发限流", auth: "鉴权失败", denied: "没有权限",
        billing: "账户欠费", quota: "配额用尽", outrun: "被另一请求抢先",
      },
      advice: {
        bad_row: "修正输入文件中的这些行，再用 --rebase 运行，其他结果会保留", blocked: "修改输入中的这些行，再用 --rebase 运行，其他结果会保留",
        bad_file: "确认文件在 --images 指明的目录里、格式正确且不过大，然后重试", invalid_request: "修改被拒绝的参数后重试", too_long: "换用上下文更长的模型后重试", truncated: "允许更长的回答后重试",
        empty: "思考可能用完了输出长度：放宽长度或关闭思考后重试", bad_reply: "检查接口地址是否正确，然后重试",
        invalid_output: "修正 schema，或用 response_format 要求这种格式，然后重试", unfinished: "允许更多轮次（[tools] 中的 max_rounds），然后重试",
        not_found: "检查模型或接入点 ID，然后重试", timeout: "可能是暂时的，可以重试；--timeout 可以延长等待时间",
        connection: "检查网络、代理和接口地址，然后重试", server_error: "服务端故障，通常稍后重试即可",
        overloaded: "服务繁忙，稍后重试，或降低 --concurrency", rate_limited: "稍后重试，或降低 --rpm、--tpm",
        auth: "检查 API Key，然后重试", denied: "在控制台为账号开通权限，然后重试", billing: "账户充值后重试",
        quota: "在控制台提高配额或等待重置，然后重试",
      },
      others: "其他", tierName: { default: "默认", auto: "自动", scale: "保障包", flex: "弹性", priority: "优先" },
      limitName: {
        concurrency: "并发", rpm: "每分钟请求", tpm: "每分钟 Token", input_tpm: "每分钟输入 Token", output_tpm: "每分钟输出 Token",
        max_cost: "费用上限", max_total_tokens: "Token 上限", mode: "模式", fixed: "固定", adaptive: "自适应",
      },
    },
  };
  const METERS = ["input", "cached", "output", "reasoning"];
  const COLOURS = ["--c", "--b", "--d", "--e", "--a", "--f"];
  const CHART_HEIGHT = 190, LAST_LABEL_ROOM = 30; // pixels; half of the widest time label
  const SHORTEST_FOR_RATES = 10; // seconds

  let language = remembered() || (/^zh/i.test(navigator.language) ? "zh" : "en");
  let data = JSON.parse(document.getElementById("data").textContent);
  let link = { live: data === null, can_stop: false, trouble: "", note: "", stopping: false };
  let view = null; // [from, to] in unix seconds when the reader looked closer
  let charts = [];

  const page = document.getElementById("page");
  const words = () => WORDS[language];

  function remembered() {
    try { return localStorage.getItem("arkbatch.language"); } catch { return null; }
  }
  function remember(value) {
    try { localStorage.setItem("arkbatch.language", value); } catch { /* a file opened from disk may have no storage */ }
  }

  // Numbers and times as people read them.
  function whole(number) { return Math.round(number).toLocaleString("en-US"); }
  function short(number) {
    if (number < 10 && number % 1) return String(number < 1 ? +number.toPrecision(2) : +number.toFixed(1));
    for (const [size, mark] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
      if (number >= size * 0.9995) return `${+(number / (mark === "k" ? 1e3 : size)).toPrecision(3)}${mark}`;
    }
    return whole(number);
  }
  function share(part, of) {
    if (!of) return "0 %";
    const percent = 100 * part / of;
    const shown = part < of ? Math.min(percent, 99.9) : percent;
    return `${shown && shown < 0.1 ? "<0.1" : +shown.toFixed(shown < 10 || shown > 99 ? 1 : 0)} %`;
  }
  // Parts of a whole that add up to 100 %: what rounding takes from one is given to the one that lost most.
  function shares(parts, of) {
    if (!of) return parts.map(() => "0 %");
    const fine = parts.some((part) => part && (part / of < 0.1 || part / of > 0.99)) && !parts.includes(of) ? 10 : 1;
    const exact = parts.map((part) => (100 * fine * part) / of), down = exact.map(Math.floor);
    let missing = Math.round(exact.reduce((sum, each) => sum + each, 0)) - down.reduce((sum, each) => sum + each, 0);
    for (const place of [...parts.keys()].sort((one, other) => (exact[other] - down[other]) - (exact[one] - down[one]))) {
      if (missing-- > 0) down[place] += 1;
    }
    return down.map((each, place) => (parts[place] && !each ? "<0.1 %" : `${each / fine} %`));
  }
  function time(seconds) {
    if (seconds < 0.995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 9.95) return `${+seconds.toFixed(1)} s`;
    const all = Math.round(seconds);
    if (all < 60) return `${all} s`;
    if (all < 3600) return all % 60 ? `${Math.floor(all / 60)} min ${all % 60} s` : `${all / 60} min`;
    const minutes = Math.round(all / 60);
    if (minutes < 2880) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
    return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
  }
  const two = (number) => String(number).padStart(2, "0");
  function day(moment) { const at = new Date(moment * 1000); return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`; }
  function clock(moment, fine) {
    const at = new Date(moment * 1000);
    return `${two(at.getHours())}:${two(at.getMinutes())}${fine ? `:${two(at.getSeconds())}` : ""}`;
  }
  function stamp(moment) { return moment ? `${day(moment)} ${clock(moment, true)}` : ""; }
  const unix = (iso) => (iso ? Date.parse(iso) / 1000 : 0);

  // Elements. Text only ever comes in as text.
  function make(tag, name, ...inside) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    for (const each of inside) {
      if (each || each === 0) element.append(each instanceof Node ? each : String(each));
    }
    return element;
  }
  function button(name, text, act) {
    const element = make("button", name, text);
    element.type = "button";
    element.addEventListener("click", act);
    return element;
  }
  function named(element, name, value) { element.dataset[name] = value; return element; }

  function show() {
    for (const chart of charts) chart.plot.destroy();
    charts = [];
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    if (data === null) {
      page.replaceChildren(make("p", "under", link.note ? words()[link.note] : link.trouble || words().waiting));
      return;
    }
    const open = page.querySelector("details.last")?.open;
    document.title = `${words().state[data.state](data)} · ${data.run_dir}`;
    page.className = data.state;
    page.replaceChildren(head(), bar(), tiles(), next(), ...failures(open), ...parcels(), ...overTime(), ...usage(), ...sessions(), ...asked());
    page.append(make("p", "hint", `arkbatch ${data.version} · ${data.run_id} · ${words().updated} ${stamp(data.made_at)}`));
  }

  function head() {
    const w = words();
    const title = make("h1", "", make("span", "dot"), w.state[data.state](data));
    const facts = [data.run_dir, data.asked.model, span()].filter(Boolean).join(" · ");
    const under = make("p", "under", facts, data.simulated ? " · " : "", data.simulated ? make("span", "badge", w.simulated) : "");
    if (data.paused) under.append(" · ", named(make("span", "badge", `${w.paused} ${stamp(unix(data.paused.at))}`), "note", "paused"));
    const left = make("div", "", title, under);
    for (const said of [data.halt, data.waiting, data.outlook]) if (said) left.append(make("p", "", said));
    const endings = Object.entries(data.finish_reasons).map(([reason, count]) => `${reason} ${whole(count)}`).join(", ");
    if (endings) left.append(named(make("p", "hint", `${w.endings}: ${endings}`), "note", "endings"));
    if (data.stragglers.length) left.append(named(make("p", "", slow()), "note", "stragglers"));
    const note = link.note ? w[link.note] : link.trouble || (data.reading ? w.reading : "");
    if (note) left.append(named(make("p", "under", note), "note", link.note));
    const buttons = make("div", "buttons");
    if (link.can_stop && data.state === "running") {
      const stop = button("stop", stopping() ? w.stopping : w.stop, askToStop);
      stop.disabled = stopping();
      buttons.append(stop);
    }
    buttons.append(button("language", w.other, () => {
      language = language === "zh" ? "en" : "zh";
      remember(language);
      show();
    }));
    return make("header", "", left, buttons);
  }
  const stopping = () => link.stopping || Boolean(data.now && data.now.stopping);

  function span() {
    const sessions = data.sessions;
    if (!sessions.length) return "";
    const began = unix(sessions[0].began_at), ended = unix(sessions[sessions.length - 1].ended_at);
    const end = ended ? ` – ${day(began) === day(ended) ? clock(ended) : stamp(ended).slice(0, 16)}` : "";
    return `${stamp(began).slice(0, 16)}${end}`;
  }

  function bar() {
    const line = make("div", "bar");
    for (const [name, part] of [["done", data.done], ["lost", data.failed]]) {
      const piece = make("i", name);
      piece.style.width = `${data.rows ? 100 * part / data.rows : 0}%`;
      if (part) piece.style.minWidth = "3px";
      line.append(piece);
    }
    return line;
  }

  function tiles() {
    const w = words(), grid = make("div", "tiles");
    const tile = (name, value, label, under, colour = "") =>
      grid.append(named(make("div", `tile ${colour}`, make("span", "", label), make("b", String(value).length > 9 ? "long" : "", value), make("span", "", under)), "tile", name));
    const [doneShare, failedShare] = shares([data.done, data.failed, data.left], data.rows);
    tile("done", whole(data.done), w.done, doneShare, data.done && !data.failed && !data.left ? "green" : "");
    tile("failed", whole(data.failed), w.failedRows, data.failed ? failedShare : "", data.failed ? "red" : "");
    if (data.left) tile("left", whole(data.left), w.left, remaining());
    const speed = data.speed ? data.speed.rows_per_minute : data.per_minute;
    const took = data.seconds ? `${w.took} ${time(data.seconds)}` : "";
    if (speed !== null && speed !== undefined && (data.speed || data.seconds >= SHORTEST_FOR_RATES)) tile("speed", short(speed), w.speed, took);
    else if (data.seconds) tile("took", time(data.seconds), w.took, "");
    const usage = data.usage, thrown = (data.discarded.input || 0) + (data.discarded.output || 0);
    const parts = make("span", "", `${short(usage.input || 0)} ${w.in} · ${short(usage.output || 0)} ${w.out}`);
    if (thrown) parts.append(make("span", "", `${short(thrown)} ${w.thrown}`));
    parts.title = thrown ? w.thrownWhy : "";
    tile("tokens", short((usage.input || 0) + (usage.output || 0)), w.tokens, parts);
    if (Object.keys(data.cost.amounts).length || data.cost.unpriced) tile("cost", money(data.cost), w.cost, forecast());
    const latency = data.series.latency;
    if (latency) tile("latency", time(latency.p50), w.latency, `p50 · p95 ${time(latency.p95)}`);
    const retried = Object.entries(data.series.retried);
    if (retried.length) {
      const all = retried.reduce((sum, [, count]) => sum + count, 0);
      tile("retried", whole(all), w.retried, `${kindWord(retried[0][0])} ${whole(retried[0][1])}`);
    }
    if (grid.children.length > 7) grid.classList.add("many");
    return grid;
  }

  // Amounts come as decimal strings and are shown by their own digits, two or as many as a small amount needs.
  function amount(digits) {
    const value = Number(digits);
    return value && value < 0.1 ? String(+value.toPrecision(2)) : value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }
  function money(cost) {
    const parts = Object.entries(cost.amounts).map(([currency, digits]) => `${amount(digits)} ${currency}`);
    return (cost.at_most ? "≤ " : "") + (parts.join(" + ") || (cost.unpriced ? words().unknown : "0.00"));
  }

  function forecast() {
    const w = words(), recorded = data.done + data.failed;
    if (data.cost.unpriced) return `${whole(data.cost.unpriced)} ${w.unpriced}`;
    if (!data.left || !recorded) return data.simulated ? w.ifReal : w.listPrice;
    const all = Object.entries(data.cost.amounts).map(([currency, digits]) => `${amount(digits * data.rows / recorded)} ${currency}`);
    return `${w.forAll} ${all.join(" + ")}`;
  }

  function remaining() {
    const w = words();
    const left = data.now && data.now.seconds_left !== null ? data.now.seconds_left : data.speed && data.speed.seconds_left;
    return left ? `${w.about} ${time(left)} ${w.rest}` : "";
  }

  function slow() {
    const w = words(), more = data.straggling - data.stragglers.length;
    const said = data.stragglers.map((each) => w.straggler(whole(each.row), time(each.seconds), time(each.usual)));
    return `${w.slow}${said.join(w.comma)}${more > 0 ? w.andMore(whole(more)) : ""}`;
  }

  function next() {
    const w = words(), box = make("p", "next");
    if (data.now) {
      const bound = data.now.waiting ? ` · ${data.now.waiting}` : data.now.bound_by ? ` · ${w.bound} ${data.now.bound_by}` : "";
      box.append(`${whole(data.now.in_flight)} ${w.inFlight}${bound}`);
    } else if (data.next_command && data.state !== "running") {
      const isFix = data.state === "failed" && data.next_command.endsWith(" --rebase");
      const isTable = data.state === "finished" && data.next_command.startsWith("arkbatch answers ");
      box.append(w.next[isFix ? "fix" : isTable ? "table" : data.state], " ", make("code", "", data.next_command));
    }
    return box;
  }

  const kindWord = (kind) => (kind === "others" ? words().others : words().kind[kind] || kind.replaceAll("_", " "));

  function failures(open) {
    const w = words();
    if (!data.failures.length && !data.last_failures.length) return [];
    const card = named(make("div", "card"), "part", "failures");
    for (const each of data.failures) card.append(reason(each));
    if (data.last_failures.length) {
      const rows = data.last_failures.map((each) => [
        number(each.row), each.custom_id, clock(each.at, true), `${kindWord(each.kind)}${each.message ? `: ${each.message}` : ""}`.trim(), each.prompt,
      ].map((cell, column) => (column > 2 ? make("div", "clamp", cell) : cell)));
      const heads = [w.row, w.id, w.when, w.why, w.prompt];
      const details = make("details", "", make("summary", "", w.last), table(heads, rows, { words: [3, 4] }));
      details.className = "last";
      details.open = open ?? link.live;
      card.append(details);
    }
    return [make("h2", "", w.failures), card];
  }

  function reason(each) {
    const w = words();
    const name = make("b", "", kindWord(each.kind));
    const sample = each.sample ? ` — ${w.such} ${whole(each.sample_row)}${language === "zh" ? " 行：" : ": "}${each.sample}` : "";
    const command = each.advice.match(/arkbatch retry .*$/);
    const sentence = w.advice[each.kind] || each.advice.replace(/,? then: arkbatch retry .*$/, "");
    const box = make("div", "reason", make("b", "", whole(each.rows)));
    box.append(make("div", "", name, each.code ? ` (${each.code})` : "", make("span", "hint", sample)));
    box.append(make("div", "", sentence[0].toUpperCase() + sentence.slice(1), command ? language === "zh" ? "：" : ": " : language === "zh" ? "。" : ".", command ? make("code", "", command[0]) : ""));
    return named(box, "kind", each.kind);
  }

  // A number cell, told from a text cell by its type.
  const number = (value) => ({ number: value });
  function table(heads, rows, { words: wide = [], total = false } = {}) {
    const body = make("tbody");
    rows.forEach((row, line) => {
      const tr = make("tr", total && line === rows.length - 1 ? "total" : "");
      row.forEach((cell, column) => {
        const counted = cell !== null && typeof cell === "object" && "number" in cell;
        tr.append(make("td", counted ? "number" : wide.includes(column) ? "words" : "", counted ? whole(cell.number) : cell));
      });
      body.append(tr);
    });
    const numeric = (column) => rows.length && rows[0][column] !== null && typeof rows[0][column] === "object" && "number" in rows[0][column];
    const priced = (column) => rows.some((row) => row[column] instanceof HTMLElement && "cost" in row[column].dataset);
    const header = make("tr", "", ...heads.map((text, column) => make("th", numeric(column) || priced(column) ? "number" : "", text)));
    return make("div", "scroll", make("table", "list", make("thead", "", header), body));
  }

  function parcels() {
    const w = words();
    if (!data.parcels.length) return [];
    const hasBack = data.parcels.some((each) => each.left);
    const rows = data.parcels.map((each) => [
      number(each.parcel), each.model || each.endpoint, number(each.rows), number(each.rows_done),
      (w.stage[each.state] || each.state.replaceAll("_", " ")) + (each.reason ? ` (${each.reason})` : ""),
      stamp(each.ordered_at), each.waited === null ? "" : time(each.waited), ...(hasBack ? [number(each.left)] : []),
    ]);
    const heads = [w.parcel, w.model, w.rows, w.rowsDone, w.parcelState, w.ordered, w.waited, ...(hasBack ? [w.back] : [])];
    const card = make("div", "card", table(heads, rows, { words: [4] }));
    if (data.more_parcels) card.append(make("p", "hint", w.moreParcels(data.more_parcels)));
    return [make("h2", "", w.parcels), named(card, "part", "parcels")];
  }

  function usage() {
    const w = words();
    if (!data.models.length) return [];
    const met = new Set(data.models.flatMap((each) => Object.keys(each.usage)));
    const meters = [...METERS.filter((name) => met.has(name)), ...[...met].filter((name) => !METERS.includes(name))];
    const thrownAway = data.models.some((each) => each.discarded.input || each.discarded.output);
    const tiers = data.models.some((each) => each.service_tier);
    const heads = [w.model, w.endpoint, ...(tiers ? [w.tier] : []), w.okay, w.bad, w.calls, ...meters.map((name) => w.meter[name] || name), ...(thrownAway ? [w.thrownShort] : []), ...(data.charges.length ? [w.cost] : [])];
    const priced = new Map(data.charges.map((each) => [JSON.stringify([each.endpoint, each.model, each.service_tier]), each.cost]));
    const row = (name, endpoint, tier, done, failed, calls, used, thrown, cost) => [
      name, endpoint, ...(tiers ? [tier] : []), number(done), number(failed), number(calls), ...meters.map((meter) => number(used[meter] || 0)),
      ...(thrownAway ? [number((thrown.input || 0) + (thrown.output || 0))] : []),
      ...(data.charges.length ? [cost ? named(make("span", "", money(cost)), "cost", Object.values(cost.amounts).join(" ")) : ""] : []),
    ];
    const rows = data.models.map((each) => row(
      each.endpoint ? each.model || w.noAnswer : w.never, each.endpoint, w.tierName[each.service_tier] || each.service_tier, each.succeeded, each.failed, each.attempts, each.usage, each.discarded,
      priced.get(JSON.stringify([each.endpoint, each.model, each.service_tier])),
    ));
    const calls = data.models.reduce((sum, each) => sum + each.attempts, 0);
    rows.push(row(w.total, "", "", data.done, data.failed, calls, data.usage, data.discarded, data.cost));
    const list = table(heads, rows, { total: true });
    list.querySelectorAll(".total .number").forEach((cell, index) => named(cell, "of", ["done", "failed", "calls", ...meters, "thrown"][index]));
    return [make("h2", "", w.usage), named(make("div", "card", list), "part", "usage")];
  }

  function sessions() {
    const w = words(), list = data.sessions;
    if (!list.length) return [];
    const last = list.length - 1;
    const rows = list.map((each, index) => {
      const began = unix(each.began_at), ended = unix(each.ended_at);
      const limits = Object.entries(each.limits).filter(([, value]) => value !== null && value !== "adaptive")
        .map(([name, value]) => `${w.limitName[name] || name} ${typeof value === "number" ? whole(value) : w.limitName[value] || value}`);
      const ending = w.ending[each.ending ?? ""] ?? each.ending;
      const look = button("", w.show, () => look_at(began, ended || data.made_at));
      return [
        number(each.number), each.command, stamp(began), ended ? time(each.seconds) : "", limits.join(", "),
        !each.ending && index === last && data.state === "running" ? w.now : ending, list.length > 1 ? look : "",
      ];
    }).reverse();
    const card = make("div", "card", table(["#", w.command, w.began, w.took, w.limits, w.ended, ""], rows, { words: [1] }));
    if (data.more_sessions) card.append(make("p", "hint", w.more(data.more_sessions)));
    return [make("h2", "", w.sessions), named(card, "part", "sessions"), ...steered()];
  }

  // What somebody changed by hand, and when.
  const orders = () => data.sessions.flatMap((each) => each.steered || []).slice(-200);

  function steered() {
    const w = words(), list = orders();
    if (!list.length) return [];
    const rows = list.map((each) => [stamp(unix(each.at)), each.by || "ctl", each.did, each.reason || ""]).reverse();
    return [make("h2", "", w.steered), named(make("div", "card", table([w.when, w.by, w.what, w.why], rows, { words: [2, 3] })), "part", "steered")];
  }

  function asked() {
    const w = words();
    const rows = [[w.input, data.input], ...Object.entries(data.asked).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])];
    return [make("details", "asked", make("summary", "", w.asked), make("div", "card", table(["", ""], rows.filter((row) => row[1] !== "" && row[1] !== "{}"), { words: [1] })))];
  }

  // Charts.
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  function overTime() {
    const w = words(), s = data.series;
    if (!s.at.length) return [];
    const grid = make("div", "charts");
    const against = (name, title, values, limits) => timeChart(grid, name, title, [
      { label: w.value, values, colour: "--a", fill: true }, { label: w.limit, values: limits, colour: "--f", dash: [6, 4], limit: true },
    ]);
    // A rate a minute that is worked out from a few seconds says nothing.
    const isLong = s.at.length * s.width >= SHORTEST_FOR_RATES;
    if (isLong) {
      against("requests", w.requests, s.requests, s.requests_limit);
      against("tokens", w.tokensMinute, s.tokens, s.tokens_limit);
    }
    against("in_flight", w.concurrency, s.in_flight, s.in_flight_limit);
    const costs = Object.entries(s.cost);
    if (costs.length) {
      timeChart(grid, "cost", w.costSoFar, costs.map(([currency, values], index) => ({ label: currency, values, colour: COLOURS[(index + 4) % COLOURS.length], fill: true, small: true })));
    }
    const retries = Object.entries(s.retries);
    if (retries.length && isLong) {
      timeChart(grid, "retries", w.retries, retries.map(([kind, values], index) => (
        { label: kindWord(kind), values, colour: COLOURS[index % COLOURS.length], fill: retries.length === 1 })));
    }
    spreadChart(grid, "latency", w.answers, s.latency);
    spreadChart(grid, "first_token", w.firstToken, s.first_token);
    const back = button("", w.all, () => look_at(null));
    back.hidden = !view;
    back.id = "all";
    return [make("h2", "", w.overTime), grid, make("p", "hint", `${w.each(s.width)} ${w.zoom} ${orders().length ? `${w.marks} ` : ""}`, back)];
  }

  function extent() {
    const at = data.series.at;
    return [at[0], at[at.length - 1] + data.series.width];
  }

  function look_at(from, to) {
    view = from === null ? null : [from, Math.max(to, from + 2)];
    const range = view || extent();
    for (const chart of charts) if (chart.timed) chart.plot.setScale("x", { min: range[0], max: range[1] });
    const back = document.getElementById("all");
    if (back) back.hidden = !view;
  }

  // A step lasts until the next one begins, so the last needs an end.
  const closed = (values) => [...values, values[values.length - 1]];

  function timeChart(grid, name, title, lines) {
    const top = peak(lines.filter((line) => !line.limit));
    // A limit far above what was used would press the line to the ground: it is told in the title instead.
    const near = lines.filter((line) => !line.limit || (line.values.some((value) => value !== null) && peak([line]) <= 4 * Math.max(top, 1)));
    const far = lines.find((line) => line.limit && !near.includes(line) && line.values.some((value) => value !== null));
    const card = named(make("div", "card", make("h3", "", title, far ? make("span", "hint", ` · ${words().limit} ${short(peak([far]))}`) : "")), "chart", name);
    grid.append(card);
    const highest = peak(near);
    draw(card, {
      scales: { x: { time: true, range: () => view || extent() }, y: { range: () => [0, near.some((line) => line.small) ? highest * 1.08 || 1 : Math.max(1, highest * 1.08)] } },
      axes: [axis({ space: 72, values: (_, at, __, ___, step) => at.map((moment, index) => tick(moment, index ? at[index - 1] : null, step)) }), axis({ size: 54, values: (_, at) => at.map(short) })],
      series: [{ label: words().time, value: (_, moment) => (moment === null ? "–" : stamp(moment)) }, ...near.map((line) => ({
        label: line.label, stroke: colour(line.colour), width: line.limit ? 1.5 : 1.75, dash: line.dash, points: { show: false },
        fill: line.fill ? `${colour(line.colour)}22` : undefined, paths: uPlot.paths.stepped({ align: 1 }), value: (_, value) => (value === null ? "–" : short(value)),
      }))],
      hooks: { draw: [mark], setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width > 4) look_at(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }] },
    }, [[...data.series.at, extent()[1]], ...near.map((line) => closed(line.values))], true);
  }

  function mark(plot) {
    const { left, top, width, height } = plot.bbox, pen = plot.ctx;
    pen.save();
    pen.strokeStyle = colour("--d");
    pen.lineWidth = devicePixelRatio;
    pen.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const each of orders()) {
      const x = plot.valToPos(unix(each.at), "x", true);
      if (x < left || x > left + width) continue;
      pen.beginPath();
      pen.moveTo(x, top);
      pen.lineTo(x, top + height);
      pen.stroke();
    }
    pen.restore();
  }

  function peak(lines) {
    return lines.reduce((most, line) => line.values.reduce((high, value) => Math.max(high, value ?? 0), most), 0);
  }

  function tick(moment, before, step) {
    if (step >= 86400) return day(moment).slice(5);
    const text = clock(moment, step < 60);
    return before === null || day(before) !== day(moment) ? `${text}\n${day(moment).slice(5)}` : text;
  }

  function spreadChart(grid, name, title, spread) {
    if (!spread) return;
    const quantiles = ` · p50 ${time(spread.p50)} · p95 ${time(spread.p95)} · p99 ${time(spread.p99)}`;
    const card = named(make("div", "card", make("h3", "", title, make("span", "hint", quantiles))), "chart", name);
    grid.append(card);
    const edges = spread.edges, bars = spread.counts.length;
    draw(card, {
      scales: { x: { time: false, range: () => [0, bars] }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.08)] } },
      axes: [axis({ incrs: [1, 2, 3, 4, 5, 10, 20], values: (_, at) => at.map((place) => (edges[place] === undefined ? "" : time(edges[place]))) }), axis({ size: 54, values: (_, at) => at.map(short) })],
      series: [{ label: words().time, value: (_, place) => (place === null ? "–" : `${time(edges[place])} – ${time(edges[place + 1])}`) }, {
        label: words().count, stroke: colour("--a"), width: 1, fill: `${colour("--a")}55`, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.92, 80], align: 1 }), value: (_, value) => (value === null ? "–" : whole(value)),
      }],
    }, [edges.slice(0, bars).map((_, place) => place), spread.counts], false);
  }

  function axis(more) {
    return { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui", ...more };
  }

  function draw(card, options, columns, timed) {
    const holder = make("div", options.series.length > 2 ? "chart" : "chart single");
    card.append(holder);
    const cursor = { y: false, drag: { x: timed, y: false, setScale: false }, ...(timed ? { sync: { key: "run" } } : {}) };
    // Its width is known only when the card stands in the page.
    charts.push({ timed, plot: { destroy() {}, setScale() {} } });
    const place = charts.length - 1;
    queueMicrotask(() => {
      if (!holder.isConnected) return;
      const plot = new uPlot({ width: holder.clientWidth, height: CHART_HEIGHT, padding: [null, LAST_LABEL_ROOM, null, null], cursor, legend: { live: true }, ...options }, columns, holder);
      plot.over.addEventListener("dblclick", () => look_at(null));
      charts[place] = { timed, plot, holder };
    });
  }

  addEventListener("resize", () => {
    for (const { plot, holder } of charts) if (holder) plot.setSize({ width: holder.clientWidth, height: CHART_HEIGHT });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());

  // Live.
  const token = new URLSearchParams(location.search).get("token") || "";

  async function askToStop() {
    if (!confirm(words().sureStop)) return;
    link.stopping = true;
    show();
    const reply = await fetch("stop", { method: "POST", headers: { "X-Arkbatch-Token": token } }).catch(() => null);
    if (!reply || !reply.ok) {
      link = { ...link, stopping: false, note: "notStopped" };
      show();
    }
  }

  function listen() {
    const source = new EventSource(`events?token=${encodeURIComponent(token)}`);
    source.addEventListener("message", (event) => {
      const heard = JSON.parse(event.data);
      link = { ...link, can_stop: heard.can_stop, trouble: heard.trouble, note: "" };
      data = heard.page;
      if (!selecting()) show();
    });
    source.addEventListener("over", () => {
      source.close();
      link = { ...link, can_stop: false, note: "over" };
      show();
    });
    source.addEventListener("error", () => {
      link.note = "lost";
      show();
    });
  }

  // Redrawing would tear away the text or the part of a chart that the reader is marking.
  function selecting() {
    const marked = getSelection();
    return (marked && !marked.isCollapsed) || charts.some(({ plot }) => plot.select && plot.select.width > 0);
  }

  // A run that was paused for most of the time is first shown where it last worked.
  if (data && data.sessions.length > 1) {
    const last = data.sessions[data.sessions.length - 1], began = unix(last.began_at), ended = unix(last.ended_at) || data.made_at;
    const range = data.series.at.length ? extent() : [0, 0];
    if (data.seconds !== null && data.seconds < (range[1] - range[0]) / 5 && ended - began > data.series.width) view = [began, ended];
  }
  show();
  if (link.live) listen();
})();
