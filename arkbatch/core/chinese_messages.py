"""The Chinese translations of messages that are put together where something happens, by their English text.

Names in braces stand for what was filled in. A value whose name ends in `_text` is translated too; every other value,
such as the name of a file or of a column, stays as it is.
"""

CHINESE_MESSAGES: dict[str, str] = {
    # Refusals before the start: server and key.
    "no API key for {host}: set {key} in the environment or in .env, or try --simulate{more_text}": (
        "没有 {host} 的 API Key：请在环境变量或 .env 中设置 {key}，或用 --simulate 试运行{more_text}"
    ),
    "no API key for {host}: set {key} (or {access} and {secret}) in the environment or in .env, or try "
    "--simulate{more_text}": (
        "没有 {host} 的 API Key：请在环境变量或 .env 中设置 {key}（或 {access} 和 {secret}），"
        "或用 --simulate 试运行{more_text}"
    ),
    "; for another OpenAI-compatible server set {key}, {address} and {model}": (
        "；若是其他兼容 OpenAI 的服务器，请设置 {key}、{address} 和 {model}"
    ),
    "no API key for {host}: a key is sent only to the address that it was given for, so set {key} and {address} "
    "together, in the environment or in .env": (
        "没有 {host} 的 API Key：Key 只会发送到与它一起设置的地址，请在环境变量或 .env 中同时设置 {key} 和 {address}"
    ),
    "no API key for {host}: {key} is set, but a key is sent only to the address that it was given for. If it is the "
    "key of this server, run this first:  {command}": (
        "没有 {host} 的 API Key：虽已设置 {key}，但 Key 只会发送到与它一起设置的地址。如果它就是该服务器的 Key，"
        "请先运行：  {command}"
    ),
    "{key} is set, but is not sent to {host}, since a key goes only to the address that it was given for. If this "
    "server needs the key, run this first:  {command}": (
        "已设置 {key}，但不会发送给 {host}，因为 Key 只会发送到与它一起设置的地址。如果该服务器需要此 Key，"
        "请先运行：  {command}"
    ),
    "others can read the keys in {file}:  {command}": "其他用户可以读取 {file} 中的 Key：  {command}",
    "{key} in {place} is not the one beside {address} in {source}: unset one of the two, so that no key goes to the "
    "wrong server": (
        "{place} 中的 {key} 与 {source} 中 {address} 旁边的不同：请去掉其中一个，以免把 Key 发给错误的服务器"
    ),
    "{key} in {place} holds a space or a letter that no key has: copy it again": (
        "{place} 中的 {key} 含有空格或 Key 中不会有的字符：请重新复制"
    ),
    "{name} is not a known provider: {hint_text}`arkbatch providers` lists them": (
        "{name} 不是已知的服务商：{hint_text}用 `arkbatch providers` 查看列表"
    ),
    "did you mean {name}? ": "是否想用 {name}？",
    "{label} = {url} is not a URL: it begins with https://, such as {example}": (
        "{label} = {url} 不是网址：应以 https:// 开头，例如 {example}"
    ),
    "{label} = {url} is too long: write {shorter}, without {path}": (
        "{label} = {url} 太长：请写 {shorter}，不带 {path}"
    ),
    'no model: {place_text}give --model, or set {name} in the environment (--model "" if each row names its own)': (
        '没有指定模型：{place_text}请用 --model 指定，或设置环境变量 {name}（若各行自带模型，写 --model ""）'
    ),
    "write model in {file}, ": "请在 {file} 中写 model，",
    # Refusals before the start: job file and options.
    "{name} = {value} is not allowed: it must be {allowed_text}": "{name} = {value} 无效：必须是{allowed_text}",
    "{allowed_text}; did you mean {meant}?": "{allowed_text}；是否想写 {meant}？",
    "{allowed_text}, in seconds, or a text such as {examples}": "{allowed_text}，以秒计，或写成 {examples}",
    "a whole number from {low} to {high}": "{low} 到 {high} 之间的整数",
    "a whole number from {low}": "不小于 {low} 的整数",
    "a number above {low} up to {high}": "大于 {low} 且不超过 {high} 的数",
    "a number above {low}": "大于 {low} 的数",
    "a number from {low} to {high}": "{low} 到 {high} 之间的数",
    "a number from {low}": "不小于 {low} 的数",
    "true or false": "true 或 false",
    "text in quotes": "带引号的文本",
    "{name} = {value} is not a known key: {hint_text}": "{name} = {value} 不是已知的键：{hint_text}",
    "did you mean {name}?": "是否想写 {name}？",
    "known here are {names}": "此处可用的有 {names}",
    "--limit {rows} is not allowed: it must be 1 or more": "--limit {rows} 无效：至少为 1",
    "job file {file} cannot be read: {reason}": "无法读取任务文件 {file}：{reason}",
    "--{option} @{file}: the file cannot be read: {reason}": "--{option} @{file}：无法读取该文件：{reason}",
    "--{option} @{file}: the file is not UTF-8 at byte {place}": (
        "--{option} @{file}：该文件在第 {place} 字节处不是 UTF-8"
    ),
    "{setting} does not exist (looked at {path})": "{setting} 不存在（查找位置：{path}）",
    "{setting} is not a directory (looked at {path})": "{setting} 不是目录（查找位置：{path}）",
    '{setting} works for chat and responses, and endpoint is "{endpoint}"': (
        '{setting} 只用于 chat 和 responses，而 endpoint 是 "{endpoint}"'
    ),
    'lane = "job" needs an access key (VOLC_ACCESSKEY and VOLC_SECRETKEY), since jobs are made by Ark\'s '
    "management API over files in TOS; an API key does not open it": (
        'lane = "job" 需要访问密钥（VOLC_ACCESSKEY 和 VOLC_SECRETKEY），因为任务由方舟的管理接口在 TOS 文件上创建；'
        "API Key 不能使用它"
    ),
    '{file}: no input: write input = "prompts.jsonl" (relative to the job file)': (
        '{file}：没有 input：请写 input = "prompts.jsonl"（相对于任务文件）'
    ),
    "--set {text} is not key=value, such as temperature=0.2 or thinking.type=disabled": (
        "--set {text} 不是 键=值 的形式，例如 temperature=0.2 或 thinking.type=disabled"
    ),
    # Refusals before the start: the input.
    "{file} does not exist": "{file} 不存在",
    "{file} is a directory. Name its files, such as {pattern}": "{file} 是目录。请指明其中的文件，例如 {pattern}",
    "{file} is not a file (looked at {path})": "{file} 不是文件（查找位置：{path}）",
    "{file} has no rows: nothing could be sent. Check the file, or say --allow-empty if that is meant.": (
        "{file} 没有数据行，没有可发送的内容。请检查文件；如果本来就是空的，加上 --allow-empty。"
    ),
    "Standard input is empty: pipe rows into it, or name an input file.": (
        "标准输入为空：请通过管道传入数据行，或指定输入文件。"
    ),
    "Standard input is not the one that {run_dir} began with. Say --rebase to keep the results of unchanged rows, or "
    "name another directory with -o.": (
        "标准输入与 {run_dir} 开始时的不同。用 --rebase 保留未改动行的结果，或用 -o 指定另一个目录。"
    ),
    "{file} ({format}): none of the first {rows} rows can be sent: {reason_text}": (
        "{file}（{format}）：前 {rows} 行都无法发送：{reason_text}"
    ),
    "{file} ({format}): its only row cannot be sent: {reason_text}": (
        "{file}（{format}）：唯一的一行无法发送：{reason_text}"
    ),
    "the template's {part} needs the column {name}, which the line lacks (it has {names}){hint_text}": (
        "模板的 {part} 需要列 {name}，而数据中没有（现有列：{names}）{hint_text}"
    ),
    "; {near}, not {name}?": "；是 {near} 而不是 {name}？",
    "the template's {part} needs the column {name}, which is missing (say --empty skip or --empty send if that is "
    "meant)": "模板的 {part} 需要列 {name}，而它缺失（若有意如此，请用 --empty skip 或 --empty send）",
    "the template's {part} needs the column {name}, which is empty (say --empty skip or --empty send if that is "
    "meant)": "模板的 {part} 需要列 {name}，而它为空（若有意如此，请用 --empty skip 或 --empty send）",
    'the line has none of "messages", "input", "prompt" and "body"; its columns ({names}) need a template: '
    "--prompt {prompt}": ("该行没有 messages、input、prompt 或 body；它的列（{names}）需要模板：--prompt {prompt}"),
    "Its columns: {names}": "它的列：{names}",
    "For example:": "例如：",
    "{file} has no column {column}, which --id-column names: {hint_text}": (
        "{file} 没有 --id-column 指定的列 {column}：{hint_text}"
    ),
    "{near}, not {name}?": "是 {near} 而不是 {name}？",
    "the columns are {names}": "现有列为 {names}",
    "No row could be sent with these defaults: {reason}. Correct [defaults] or --set.": (
        "用这些默认参数没有一行可以发送：{reason}。请修改 [defaults] 或 --set。"
    ),
    # Refusals before the start: the run directory.
    "{run_dir} was begun with other parameters: {changes}. Take the change back, name another directory with -o, or "
    "say --mixed if it is meant.": (
        "{run_dir} 是用其他参数开始的：{changes}。请撤销改动，或用 -o 指定另一个目录；若有意如此，加上 --mixed。"
    ),
    "The input {file} is not the one that {run_dir} began with: {edit}. Say --rebase to keep the results of unchanged "
    "rows and run the others, or name another directory with -o.": (
        "输入 {file} 与 {run_dir} 开始时的不同：{edit}。用 --rebase 保留未改动行的结果并运行其余的行，"
        "或用 -o 指定另一个目录。"
    ),
    "{run_dir} holds {held_text} answers, and these would be {now_text}. Name another directory with -o, or "
    "{advice_text} to go on with the {same_text} ones.": (
        "{run_dir} 中是{held_text}的回答，而这次会得到{now_text}的回答。请用 -o 指定另一个目录，或{advice_text}，"
        "以继续{same_text}的运行。"
    ),
    "real": "真实",
    "run it with --simulate": "加上 --simulate 运行",
    "leave --simulate out": "去掉 --simulate",
    "{run_dir} is being written by {writer}. Wait for it to end, or end it with: {command}": (
        "{run_dir} 正由 {writer} 写入。请等待其结束，或用以下命令结束它：{command}"
    ),
    "{run_dir} is not a run directory: it has no run.json.": "{run_dir} 不是运行目录：其中没有 run.json。",
    "--max-cost cannot hold: {reason}. {advice_text}": "--max-cost 无法保证：{reason}。{advice_text}",
    # Notes before the first call.
    "kept here, not sent: {names}": "只保留在本地、不发送的列：{names}",
    "the column id is not used as custom_id: say --id-column id if it is to be": (
        "列 id 没有用作 custom_id：如需使用，请加 --id-column id"
    ),
    "the first record looks like a row and not like names of columns: say --no-header if it is one": (
        "第一条记录像数据而不像列名：如果是数据，请加 --no-header"
    ),
    "{name} is not a parameter that arkbatch knows, and is not sent: {near} was meant? (others go into body or "
    "[defaults])": "{name} 不是已知的参数，不会发送：是否想写 {near}？（其他参数放在 body 或 [defaults] 中）",
    "{repeats} of {rows} repeat an earlier request: they are not sent, and get a copy of its record": (
        "{rows} 中有 {repeats} 行与前面的请求相同：不再发送，直接沿用其记录"
    ),
    "the input grew by {rows_text}": "输入增加了 {rows_text}",
    "{number} row": "{number} 行",
    "{number} rows": "{number} 行",
    # While a session works.
    "Stopping.": "正在停止。",
    "Stopping: waiting for {number} call in flight.": "正在停止：等待 {number} 个进行中的请求。",
    "Stopping: waiting for {number} calls in flight.": "正在停止：等待 {number} 个进行中的请求。",
    "Ctrl-C again abandons it.": "再按一次 Ctrl-C 则放弃它。",
    "Ctrl-C again abandons them.": "再按一次 Ctrl-C 则放弃它们。",
    "{done}/{total} rows": "{done}/{total} 行",
    "{time} left": "剩余 {time}",
    "{number} failed": "失败 {number}",
    "{number} in flight": "进行中 {number}",
    "{number} retry": "重试 {number}",
    "{number} retries": "重试 {number}",
    "{rate} req/min": "{rate} 请求/分",
    "{rate} tok/min": "{rate} Token/分",
    "limited by {bound_text}": "受限于{bound_text}",
    "your limit of requests a minute": "每分钟请求数上限",
    "your limit of tokens a minute": "每分钟 Token 上限",
    "the concurrency": "并发数",
    "the input": "输入",
    "a pause": "暂停",
    "the server ({reason_text})": "服务端（{reason_text}）",
    "the server for {time} ({reason_text})": "服务端已 {time}（{reason_text}）",
    "the service is away: {reason_text}": "服务中断：{reason_text}",
    "the service is away: {reason_text}; {plan_text}": "服务中断：{reason_text}；{plan_text}",
    "the service is coming back": "服务正在恢复",
    "the service is back after {time}": "服务在 {time} 后恢复",
    "trying it again from time to time": "会不时重试",
    "it has never answered, so it is tried again for {time} only; if the address is wrong, press Ctrl-C and fix it": (
        "它从未应答，因此只再尝试 {time}；如果地址有误，请按 Ctrl-C 并改正"
    ),
    "paused since {moment} UTC": "自 {moment} UTC 起暂停",
    "its hours have come: going on until {moment}": "运行时段已到：持续到 {moment}",
    "waiting for {moment}": "等待到 {moment}",
    # What to do when a run stops.
    "check the network and the base URL, then run it again; --give-up-after says how long to wait": (
        "检查网络和接口地址，然后重新运行；--give-up-after 决定等待多久"
    ),
    "check the network and the base URL, then run it again; --give-up-after says how long to wait; if other requests "
    "are answered there, the rows that are left break it: fix or remove them": (
        "检查网络和接口地址，然后重新运行；--give-up-after 决定等待多久；如果其他请求能得到应答，"
        "则是剩余的行使其出错：请修改或删除这些行"
    ),
    "Correct the parameter in the job file ([defaults]) or with --set, then run it again.": (
        "请在任务文件（[defaults]）中或用 --set 改正该参数，然后重新运行。"
    ),
    "Run the same command with {flag} {amount} or more; what is recorded is not sent again.": (
        "用 {flag} {amount} 或更多重新运行同一命令；已记录的行不会重发。"
    ),
    "the budget of {most} ends here: {spent} are spent, and the next call may take up to {next_call}": (
        "预算 {most} 到此为止：已花费 {spent}，下一次请求最多可能再花 {next_call}"
    ),
    "raise max_rounds under [tools], or tell the model when to stop": (
        "调高 [tools] 中的 max_rounds，或告诉模型何时停止"
    ),
    "{advice_text}; it resets in {time}": "{advice_text}；{time} 后重置",
    "{advice_text}; it resets at {moment} (in {time})": "{advice_text}；于 {moment} 重置（{time} 后）",
    "the quota is used up: wait until it resets": "配额用尽：请等待重置",
    "Look at the log of its last attempt ({file}), then run the same command again.": (
        "请查看最后一次尝试的日志（{file}），然后重新运行同一命令。"
    ),
    "fix what the message names, and run the command again": "改正消息中指出的问题，然后重新运行该命令",
    "look at the batches in the provider's console; go on with --lane online, or run the command again": (
        "在服务商控制台查看批量任务；用 --lane online 继续，或重新运行该命令"
    ),
    "run the same command again when it is back; nothing is ordered twice": (
        "待其恢复后重新运行同一命令；不会重复下单"
    ),
    "cancel it in the provider's console, and run the same command again": (
        "在服务商控制台取消它，然后重新运行同一命令"
    ),
    # `show`.
    "{state_text}, it has no record yet. Run again to send it.": "{state_text}，还没有记录。重新运行即可发送。",
    "{state_text}, {number} call, {time}.": "{state_text}，{number} 次请求，{time}。",
    "{state_text}, {number} calls, {time}.": "{state_text}，{number} 次请求，{time}。",
    "{state_text}, {number} call, {time}. Run again to send it.": (
        "{state_text}，{number} 次请求，{time}。重新运行即可发送。"
    ),
    "{state_text}, {number} calls, {time}. Run again to send it.": (
        "{state_text}，{number} 次请求，{time}。重新运行即可发送。"
    ),
    "{state_text}, never sent.": "{state_text}，从未发送。",
    "undone": "未处理",
    "interrupted": "已中断",
    "Row {number} ({name}): {rest_text}": "第 {number} 行（{name}）：{rest_text}",
    "Input, {note_text}:": "输入，{note_text}：",
    "Input, {note_text}.": "输入，{note_text}。",
    "Request, {method} {url}:": "请求，{method} {url}：",
    "More rows have this name; the first {rows} are shown.": "还有更多行使用此名称；这里显示前 {rows} 行。",
    "Earlier sessions:": "之前的会话：",
    "Calls:": "请求：",
    "Tools:": "工具：",
    "{number} calls before the last one are not listed": "最后一次之前的 {number} 次请求未列出",
    "Error: {error}": "错误：{error}",
    "Error: bad_row {reason_text}": "错误：bad_row {reason_text}",
    "Answer (finish reason {reason}):": "回答（结束原因 {reason}）：",
    "succeeded": "成功",
    "What to do: {advice_text}": "怎么办：{advice_text}",
    "The last reply, with status {status}:": "最后一次回复，状态码 {status}：",
    "{run_dir} has no row {name}: give the number of a line (1 to {most}), a custom_id, or the id of a request": (
        "{run_dir} 中没有行 {name}：请给出行号（1 到 {most}）、custom_id 或请求的 ID"
    ),
    # `check`.
    "{file}: {good} of {rows} rows can be sent{rest_text}. Nothing was sent.": (
        "{file}：{rows} 行中有 {good} 行可以发送{rest_text}。没有发送任何请求。"
    ),
    ", {number} bad line{rest_text}": "，{number} 个无效行{rest_text}",
    ", {number} bad lines{rest_text}": "，{number} 个无效行{rest_text}",
    ", {number} bad row{rest_text}": "，{number} 个无效行{rest_text}",
    ", {number} bad rows{rest_text}": "，{number} 个无效行{rest_text}",
    ", {number} without a model{rest_text}": "，{number} 行没有模型{rest_text}",
    ", {number} blank lines passed over": "，跳过 {number} 个空行",
    ", {number} blank line passed over": "，跳过 {number} 个空行",
    "Tokens, roughly: {input} input, {output} output. Input is judged by its characters; an answer is taken for "
    "{tokens} tokens, or for max_tokens where that is less.": (
        "Token 粗略估计：输入 {input}，输出 {output}。输入按字符估算；每个回答按 {tokens} Token 计，"
        "max_tokens 更小时按 max_tokens 计。"
    ),
    "Largest row: {unit_text} {row} ({name}) with some {tokens} input tokens in {bytes} bytes.": (
        "最大的行：{unit_text} {row}（{name}），约 {tokens} 输入 Token，{bytes} 字节。"
    ),
    "Bad lines, {number} in all:": "无效行，共 {number} 个：",
    "Bad rows, {number} in all:": "无效行，共 {number} 个：",
    "line": "行",
    "The first {number} are shown; by reason:": "这里显示前 {number} 个；按原因统计：",
    "The same custom_id on several lines: {ids} on {lines} lines. All are sent, and told apart by line number:": (
        "多行使用同一个 custom_id：{ids}，共 {lines} 行。它们都会发送，并按行号区分："
    ),
    "{repeats} of {rows} repeat an earlier request: with --dedupe they are not sent, and get a copy of its record.": (
        "{rows} 中有 {repeats} 行与前面的请求相同：使用 --dedupe 则不再发送，直接沿用其记录。"
    ),
    "No model named: give --model M, set ARK_MODEL (elsewhere MODEL_NAME), or write model into the rows.": (
        "没有指定模型：请用 --model M，或设置 ARK_MODEL（其他服务器用 MODEL_NAME），或在各行中写 model。"
    ),
    "None of the lines can be sent: fix them.": "没有一行可以发送：请修正它们。",
    "Fix the bad lines, or send the others (bad lines are recorded as failures):": (
        "请修正无效行，或只发送其余的行（无效行会记为失败）："
    ),
    "Send them:": "发送：",
    "{format}, {number} columns ({names})": "{format}，{number} 列（{names}）",
    "{format}, {number} column ({names})": "{format}，{number} 列（{names}）",
    # Answers as a table.
    "{number} row ({states_text}):  {file}": "{number} 行（{states_text}）：  {file}",
    "{number} rows ({states_text}):  {file}": "{number} 行（{states_text}）：  {file}",
    "Answers:": "回答：",
    "{number} with an answer": "{number} 行有回答",
    "{number} with an answer, {rest_text}": "{number} 行有回答，{rest_text}",
    "{number} failed, {rest_text}": "{number} 行失败，{rest_text}",
    "{number} not done": "{number} 行未处理",
    "Without an answer: {number} failed row. {next_text}": "没有回答：{number} 个失败的行。{next_text}",
    "Without an answer: {number} failed rows. {next_text}": "没有回答：{number} 个失败的行。{next_text}",
    "Without an answer: {number} row not done yet. {next_text}": "没有回答：{number} 行尚未处理。{next_text}",
    "Without an answer: {number} rows not done yet. {next_text}": "没有回答：{number} 行尚未处理。{next_text}",
    "Resume with:  {command}": "继续运行：  {command}",
    "Send the failed rows again:  {command}": "重新发送失败的行：  {command}",
    "{number} answers begin with = or @, which a sheet takes for a formula: for a sheet write .xlsx, or say "
    "--defuse": "{number} 个回答以 = 或 @ 开头，表格软件会当作公式：请写成 .xlsx，或加 --defuse",
    # Estimates.
    "{rows} rows for {model} ({endpoint}):": "{model}（{endpoint}）的 {rows} 行：",
    "Ways to send them:": "发送方式：",
    "All of them:": "合计：",
    "Run it:": "运行：",
    "The cost is not known: {reason}.": "费用未知：{reason}。",
    "The cost is not known: {reason}. Give a price with --prices FILE.": (
        "费用未知：{reason}。请用 --prices FILE 给出价格。"
    ),
    "How: {method_text}.": "依据：{method_text}。",
    "no answer was looked at: input from characters, within a factor of {factor}; output only by the rows' own "
    "limits": "没有参考任何回答：输入按字符估算，误差在 {factor} 倍以内；输出只按各行自己的上限",
    "No ceiling can be given: {reason_text}.": "无法给出上限：{reason_text}。",
    "a row sets no limit to its answer": "有的行没有限制回答长度",
    "At most {cost}, each answer as long as its limit; max_tokens does not limit thinking.": (
        "最多 {cost}，每个回答都达到其上限；max_tokens 不限制思考。"
    ),
    "Estimate: {parts_text}. `arkbatch estimate --sample 20` measures.": (
        "估计：{parts_text}。可用 `arkbatch estimate --sample 20` 实测。"
    ),
    "about {tokens} tokens of input": "输入约 {tokens} Token",
    "about {tokens} tokens of input, {rest_text}": "输入约 {tokens} Token，{rest_text}",
    "at most {cost} in all": "总计最多 {cost}",
    "at most {cost} in all, {rest_text}": "总计最多 {cost}，{rest_text}",
    "{time} at least by the limits given": "按给定上限至少需要 {time}",
    "{text_text} (from the first {rows} rows)": "{text_text}（由前 {rows} 行推算）",
    "Nothing was sent. {rest}": "没有发送任何请求。{rest}",
}
