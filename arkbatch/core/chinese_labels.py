"""The Chinese translations of texts for people, by their English text.

Names in braces are filled in later.
"""

CHINESE: dict[str, str] = {
    # What is counted.
    "row": "行",
    "slow row": "个慢请求",
    "failed row": "个失败的行",
    # Labels of the summary and of `status`.
    "rows": "行数",
    "failures": "失败原因",
    "ended with": "结束方式",
    "tokens": "Token",
    "discarded": "浪费",
    "cost": "费用",
    "reported": "平台报告",
    "time": "用时",
    "away": "服务中断",
    "asked again": "重复请求",
    "copied": "沿用结果",
    "{rows} with the request of an earlier row": "{rows}与前面的行请求相同",
    "latency": "回答耗时",
    "streamed": "流式",
    "simulated": "模拟",
    "results": "结果",
    "failed rows": "失败的行",
    "hours": "时段",
    "waiting": "等待",
    "in time": "能否按时",
    "speed": "速度",
    "slow calls": "慢请求",
    "input": "输入",
    "asked": "请求",
    "limits": "上限",
    "pace": "当前节奏",
    "cached": "缓存",
    "output": "输出",
    "reasoning": "思考",
    "model": "模型",
    "endpoint": "接口",
    "tier": "服务等级",
    "done": "成功",
    "failed": "失败",
    "calls": "请求数",
    "command": "命令",
    "began": "开始",
    "took": "用时",
    "ended": "结束",
    "when": "时间",
    "by": "来源",
    "what": "内容",
    "why": "原因",
    # The first lines of a session.
    "the model that each row names": "各行自带的模型",
    "default": "默认",
    "the environment": "环境变量",
    "the job file": "任务文件",
    "{rows} -> {model} at {host}": "{rows} -> {model}，服务器 {host}",
    "{rows} -> {model} at the simulator": "{rows} -> {model}，模拟器",
    "New run in {run_dir}: {rows}.": "新的运行 {run_dir}：{rows}。",
    "Resuming {run_dir}: {done} done, {failed} failed, {left} left.": (
        "继续运行 {run_dir}：成功 {done}，失败 {failed}，剩余 {left}。"
    ),
    " Nothing changed since the last session.": "与上次会话相比没有变化。",
    "changed": "有变化",
    "Retrying {rows} of {failed} failed rows in {run_dir}.": "重新发送 {run_dir} 中 {failed} 个失败行里的 {rows} 行。",
    "None of the {rows} in {run_dir} is of those kinds or numbers: arkbatch status {run_dir}": (
        "{run_dir} 的 {rows}都不属于这些种类或行号：arkbatch status {run_dir}"
    ),
    "Note:": "提示：",
    "Simulated: no request leaves this machine, and the answers mean nothing.": (
        "模拟运行：没有请求离开本机，回答没有实际意义。"
    ),
    # Summary.
    "{done} succeeded, {failed} failed, {left} left": "成功 {done}，失败 {failed}，剩余 {left}",
    "{time} ({rows} in this session)": "{time}（本次会话 {rows}）",
    "the service was away for {time}": "服务中断了 {time}",
    "{rows}; the second call was quicker for {won}": "{rows}；其中 {won} 个以第二次请求为准",
    "yes: the answers come from arkbatch's own simulator": "是：回答来自 arkbatch 自带的模拟器",
    "{file}; why: {command}": "{file}；原因见：{command}",
    "{cost}, had it been real": "{cost}（模拟运行，未实际计费）",
    "Nothing to send: the input has no rows.": "没有可发送的内容：输入中没有数据行。",
    "Nothing was sent.": "没有发送任何请求。",
    "Nothing left to send: every row has its record.": "没有剩余：每一行都已有记录。",
    "Finished.": "已完成。",
    "Finished, with failed rows.": "已完成，但有失败的行。",
    "Stopped: every request would fail until this is fixed. Rows without a record stay undone.": (
        "已中止：问题解决之前，所有请求都会失败。没有记录的行尚未处理。"
    ),
    "Stopped. What was recorded is safe; the rest is undone.": "已停止。已记录的结果是安全的，其余尚未处理。",
    "Interrupted. What was recorded is safe.": "已中断。已记录的结果是安全的。",
    "Ordered batches run on.": "已提交的批量任务继续运行。",
    "Reason:": "原因：",
    "What to do:": "怎么办：",
    # `status`.
    "{run_dir}: running ({writer}).": "{run_dir}：运行中（{writer}）。",
    "{run_dir}: finished.": "{run_dir}：已完成。",
    "{run_dir}: finished, with failed rows.": "{run_dir}：已完成，但有失败的行。",
    "{run_dir}: not finished, and no session is running.": "{run_dir}：未完成，当前没有会话在运行。",
    " Stopped: {reason}": "中止原因：{reason}",
    "{run_dir}: paused since {since} by {by} ({writer}).": "{run_dir}：已暂停（{since}，{by}；{writer}）。",
    "{done} done, {failed} failed, {left} left of {rows}": "成功 {done}，失败 {failed}，剩余 {left}，共 {rows}",
    "no row has ended in the last minute": "最近一分钟没有行结束",
    "{rows} rows and {tokens} tokens a minute": "每分钟 {rows} 行、{tokens} Token",
    "; about {time} left": "；还需约 {time}",
    "about {rows}": "约 {rows}",
    "changed since the last session": "上次会话之后有变化",
    "not found": "找不到",
    "the model of each row": "各行自带的模型",
    " (changed for that session only)": "（仅该次会话有改动）",
    "row {row} for {silent} (usually {usual})": "第 {row} 行已等待 {silent}（通常 {usual}）",
    "{number} more": "另有 {number} 个",
    "Usage by model:": "各模型用量：",
    "Failed rows:": "失败的行：",
    "Sessions:": "会话：",
    "Changed while the last session worked:": "上次会话运行中的人工调整：",
    "and {number} more kinds of failure, with --json": "另有 {number} 种失败原因，用 --json 查看",
    "and {number} earlier sessions, with --json": "以及更早的 {number} 次会话，用 --json 查看",
    "and {number} earlier changes, with --json": "以及更早的 {number} 次调整，用 --json 查看",
    "(bad lines, never sent)": "（无效行，未发送）",
    "(no answer)": "（无回答）",
    "{rows} {kind}, such as row {row}": "{rows} 行{kind}，例如第 {row} 行",
    "running": "运行中",
    "killed, or the disk was full": "进程被终止或磁盘已满",
    "finished": "完成",
    "stopped": "被停止",
    "halted": "中止",
    "nothing left": "没有剩余的行",
    "disk full": "磁盘已满",
    "abandoned": "被放弃",
    # The last line.
    "Resume with:": "继续运行：",
    "Resume with a larger budget:": "提高预算后继续运行：",
    "Look again:": "再次查看：",
    "Read one answer:": "查看一条回答：",
    "Write the table with its answers:": "把回答写入表格：",
    "Send the failed rows again:": "重新发送失败的行：",
    "Fix the failed rows in the input, then run it with --rebase:": "在输入文件里改好失败的行，再用 --rebase 运行：",
    "Fix the failed rows in the input, then run it with --rebase.": "在输入文件里改好失败的行，再用 --rebase 运行。",
    "The input has no rows: check that it is the right file, and run it again.": (
        "输入中没有数据行：请确认文件是否正确，然后重新运行。"
    ),
    # What to do, by kind of failure.
    "{sentence}, then: {command}": "{sentence}，然后运行：{command}",
    "{sentence}, then run with --rebase, which keeps all other results": (
        "{sentence}，再用 --rebase 运行，其他结果会保留"
    ),
    "see what the service said": "查看服务端的说明",
    "it may be over by now; --timeout TIME gives a model more time to think": (
        "可能是暂时的；--timeout 可以给模型更多思考时间"
    ),
    "check the network, the proxy variables and the base URL": "检查网络、代理变量和接口地址",
    "the service had a fault, which is often over later": "服务端故障，通常稍后就会恢复",
    "the service was too busy; later, or with a lower --concurrency, it may work": (
        "服务繁忙：稍后重试，或降低 --concurrency"
    ),
    "later, or with a lower --rpm or --tpm, it may work": "稍后重试，或降低 --rpm、--tpm",
    "check that the base URL is that of an API and not of a web page": "检查接口地址是 API 的地址，而不是网页",
    "fix the schema, or ask for its shape with response_format": "修正 schema，或用 response_format 要求这种格式",
    "allow more rounds (max_rounds under [tools]), or tell the model when to stop": (
        "允许更多轮次（[tools] 中的 max_rounds），或告诉模型何时停止"
    ),
    "the answer was cut off: allow a longer one": "回答被截断：允许更长的回答",
    "thinking may have used up the output: allow more, or turn thinking off": (
        "思考可能用完了输出长度：放宽长度或关闭思考"
    ),
    "the service refused a parameter: change it": "服务端拒绝了某个参数：请修改",
    "see that the file is in its place (--images DIR), is what it should be and not too large": (
        "确认文件在 --images 指明的目录里、格式正确且不过大"
    ),
    "the row is too long for the model: name one with a longer context": "这一行超出模型上下文：换用上下文更长的模型",
    "a quota is used up: raise it in the console, or wait until it resets": "配额用尽：在控制台提高配额，或等待重置",
    "fix these lines in the input, which `arkbatch check` lists": "修正输入文件中的这些行（用 `arkbatch check` 列出）",
    "moderation refused the text, and most likely will again: change these rows in the input": (
        "内容审核拒绝了这段文本，重发多半也会被拒：修改输入中的这些行"
    ),
    # What to do when a run stops, from the table of errors.
    "check the API key ({key}): it must be whole, enabled and of the base URL's region": (
        "检查 API Key（{key}）：须完整、已启用，且属于接口地址所在的区域"
    ),
    "the account is out of money: recharge it in the billing centre of the console": "账户欠费：在控制台的费用中心充值",
    "give the key's account access to this model: permissions and projects in the service's console": (
        "为该 Key 的账号开通此模型的权限：见控制台的权限和项目"
    ),
    "activate the model in the Ark console (model activation), or name another one with --model": (
        "在方舟控制台开通该模型（开通管理），或用 --model 换一个模型"
    ),
    "check the model or endpoint id ({model}) and that the key may use it": (
        "检查模型或接入点 ID（{model}），并确认该 Key 有权使用"
    ),
    "check the base URL ({address}): Ark's is https://ark.cn-beijing.volces.com/api/v3, most others end in /v1": (
        "检查接口地址（{address}）：方舟的是 https://ark.cn-beijing.volces.com/api/v3，其他多以 /v1 结尾"
    ),
    "the account has no quota left: recharge it, or see plan and limits on the service's website": (
        "账户没有剩余额度：请充值，或在服务商网站查看套餐和限额"
    ),
    "what is left of the account's money is less than this request may cost: recharge it, or lower max_tokens": (
        "账户余额低于该请求可能的费用：请充值，或调低 max_tokens"
    ),
    "check the address and the kind of key: the gateway before Ark did not know the request's signature": (
        "检查接口地址和 Key 的类型：方舟前面的网关不认识请求的签名"
    ),
    "the free quota of this model is used up: activate the paid service in the Ark console, or name another model": (
        "该模型的免费额度已用完：在方舟控制台开通付费服务，或换一个模型"
    ),
    "the quota of the plan is used up: wait until it resets, or use a key without the plan": (
        "套餐额度已用完：等待重置，或换用不属于套餐的 Key"
    ),
    "your own limit for this model is reached: raise it in the Ark console, or leave its Safe Experience Mode": (
        "已达到您为该模型设置的上限：在方舟控制台调高，或退出安心体验模式"
    ),
    "the inference endpoint is closed: start it in the Ark console, or name another one with --model": (
        "推理接入点已关闭：在方舟控制台启动它，或用 --model 换一个"
    ),
    "the account is not in order: see its messages in the console": "账号状态异常：请查看控制台的消息",
    "the proxy wants a password: check HTTPS_PROXY": "代理需要密码：检查 HTTPS_PROXY",
    "a firewall or proxy answered with a web page: see whether it lets these requests through": (
        "防火墙或代理返回了网页：请确认它放行这些请求"
    ),
    "the account has no quota left: see plan and billing on the service's website": (
        "账户没有剩余额度：请在服务商网站查看套餐和账单"
    ),
    "the clock of this machine is wrong: set it, the service compares it with its own": (
        "本机时间不准：请校准，服务端会与自己的时间比对"
    ),
    "the coding plan of this key is missing or has expired: renew it, or use an ordinary API key": (
        "该 Key 的编程套餐不存在或已到期：续订套餐，或换用普通 API Key"
    ),
    "the file storage of the account is full: delete files that are no longer needed": (
        "账户的文件存储已满：请删除不再需要的文件"
    ),
    "the plan of this key lacks the model: name another one with --model": (
        "该 Key 的套餐不含此模型：用 --model 换一个模型"
    ),
    "the server redirects, where no key follows: check the base URL ({address}): "
    "Ark's is https://ark.cn-beijing.volces.com/api/v3, most others end in /v1": (
        "服务器发生了跳转，而 Key 不会跟随跳转：检查接口地址（{address}），"
        "方舟的是 https://ark.cn-beijing.volces.com/api/v3，其他多以 /v1 结尾"
    ),
    "this account may not use model ids: create an inference endpoint in the Ark console and name its ep-... id": (
        "该账号不能直接使用模型 ID：在方舟控制台创建推理接入点，并使用其 ep-... ID"
    ),
    "Give the price with --prices FILE, as [[model]] with family, currency and price.online = { input, output }, or "
    'say what an endpoint id stands for: [map] "ep-..." = "doubao-seed-1.6".': (
        "请用 --prices FILE 给出价格：[[model]] 下写 family、currency 和 price.online = { input, output }；"
        '或说明接入点 ID 对应的模型：[map] "ep-..." = "doubao-seed-1.6"。'
    ),
    # Headings of `show`, `check` and `estimate`.
    "asked for": "请求的模型",
    "client request id": "客户端请求 ID",
    "server request id": "服务端请求 ID",
    "status": "状态码",
    "verdict": "判定",
    "code": "错误码",
    "sent after": "发送于",
    "seconds": "秒",
    "input tokens": "输入 Token",
    "output tokens": "输出 Token",
    "with max_tokens": "有 max_tokens",
    "low": "低",
    "expected": "预期",
    "high": "高",
    "at most": "最多",
    "answers": "回答",
    "time still to come": "剩余用时",
    # Kinds of failure; the English word is what --kind takes.
    "bad_row": "无效行",
    "bad_file": "文件无效",
    "invalid_request": "参数无效",
    "invalid_output": "回答不符合要求",
    "unfinished": "工具调用未结束",
    "too_long": "内容过长",
    "blocked": "内容审核拦截",
    "truncated": "回答被截断",
    "empty": "回答为空",
    "bad_reply": "回复无法使用",
    "not_found": "模型不存在",
    "timeout": "超时",
    "connection": "连接失败",
    "server_error": "服务端错误",
    "overloaded": "服务过载",
    "rate_limited": "触发限流",
    "auth": "鉴权失败",
    "denied": "没有权限",
    "billing": "账户欠费",
    "quota": "配额用尽",
}
