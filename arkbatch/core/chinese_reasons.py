"""The Chinese of the reasons why a row fails or is refused, and of prices, batches and workers, by their English text.

Names in braces stand for what was filled in. A value whose name ends in `_text` is translated too; every other value,
such as the name of a file or of a column, stays as it is.
"""

CHINESE_REASONS: dict[str, str] = {
    # A row of the input that cannot be sent.
    "it is damaged or cut off. Save it again": "文件已损坏或不完整。请重新保存",
    "it has a password. Save it without one": "文件有密码。请去掉密码后保存",
    "Its other sheets: {names}": "其他工作表：{names}",
    "The first record looks like a row: say --no-header if it is one, and call the columns {{1}}, {{2}}, ...": (
        "第一条记录像数据：如果是数据，请加 --no-header，并用 {{1}}、{{2}}……称呼各列"
    ),
    "no model: give one in the row, in the job file (model), or with --model": (
        "没有模型：请在行中、任务文件（model）中给出，或用 --model"
    ),
    "a file is read only if you name its directory: give --images DIR, or images in the job file": (
        "只有指明目录才会读取文件：请用 --images DIR，或在任务文件中写 images"
    ),
    "custom_id {value} is not a text of one character or more": "custom_id {value} 不是非空文本",
    "request_id {value} is not a text of 1 to {most} letters of ASCII": (
        "request_id {value} 不是 1 到 {most} 个 ASCII 字符的文本"
    ),
    "prompt and system must be text, not {kind_text}": "prompt 和 system 必须是文本，而不是{kind_text}",
    "a list": "列表",
    "a number": "数字",
    "an object": "对象",
    "text": "文本",
    "the prompt is empty (say --empty skip or --empty send if that is meant)": (
        "提示词为空（若有意如此，请用 --empty skip 或 --empty send）"
    ),
    "{endpoint} has no batch lane: leave lane (--lane) out": "{endpoint} 没有批量通道：请去掉 lane（--lane）",
    'the url is one of the batch lane: give lane = "batch" (--lane batch)': (
        'url 属于批量通道：请写 lane = "batch"（--lane batch）'
    ),
    "not JSON: {reason} at column {column}": "不是 JSON：第 {column} 列 {reason}",
    "the line holds {kind_text}, not an object in braces": "该行是{kind_text}，不是花括号中的对象",
    "the line holds {kind_text}, not an object in braces; values need the names of their columns: write objects, or "
    "save the rows as CSV": "该行是{kind_text}，不是花括号中的对象；取值需要列名：请写成对象，或把各行存为 CSV",
    "the line is nested more than {levels} levels deep": "该行嵌套超过 {levels} 层",
    "the line is longer than {size} MB, more than a request may have: split the row": (
        "该行超过 {size} MB，超出请求的上限：请拆分该行"
    ),
    "several objects stand on one line; write each on a line of its own": "一行中有多个对象；请每个对象各占一行",
    "not JSON but Python: names and texts stand in single quotes; write the lines with json.dumps": (
        "不是 JSON 而是 Python：名称和文本用了单引号；请用 json.dumps 写出各行"
    ),
    "not valid UTF-8 at byte {place} of the line; save the file as UTF-8": (
        "该行第 {place} 字节处不是有效的 UTF-8；请把文件存为 UTF-8"
    ),
    "not valid {encoding}": "不是有效的 {encoding}",
    "line {line} of {file}: {reason_text}": "{file} 第 {line} 行：{reason_text}",
    "a quote that opens here is never closed, so that the rest of the file is in one cell": (
        "此处的引号没有闭合，文件的其余部分都落入同一个单元格"
    ),
    "the record has {cells} cells, and the header names {columns}": (
        "该记录有 {cells} 个单元格，而表头只有 {columns} 列"
    ),
    "element {number} of {file} is not JSON: {reason_text}": "{file} 的第 {number} 个元素不是 JSON：{reason_text}",
    "it does not end": "没有结束",
    "behind the list of {file} stands another one": "{file} 的列表之后还有内容",
    "headers beside body cannot be sent with one row: leave them out, or give them for all rows in the job file": (
        "body 旁边的 headers 不能只随一行发送：请去掉，或在任务文件中为所有行给出"
    ),
    "body holds {kind_text}, not an object in braces": "body 是{kind_text}，不是花括号中的对象",
    "method {method} cannot be sent; only POST is": "不能发送 method {method}；只支持 POST",
    "url {url} is no endpoint that arkbatch knows ({names}), and no other path below a version, such as /v1/rerank": (
        "url {url} 不是已知的接口（{names}），也不是版本号之下的其他路径，例如 /v1/rerank"
    ),
    "{name} stands beside body as {first} and in it as {second}: leave one of them out": (
        "{name} 在 body 旁边是 {first}，在 body 中是 {second}：请去掉其中一个"
    ),
    "the columns are ShareGPT's: give a template that takes the first turn, --prompt {prompt}, or write the turns as "
    "messages": "这是 ShareGPT 的列：请给出取第一轮的模板 --prompt {prompt}，或把各轮写成 messages",
    "the columns are Alpaca's (instruction, input, output): they need a template, --prompt {prompt}": (
        "这是 Alpaca 的列（instruction、input、output）：需要模板 --prompt {prompt}"
    ),
    "the template's {part} needs the column {name}, which the line lacks (it has {names}); {advice_text}": (
        "模板的 {part} 需要列 {name}，而数据中没有（现有列：{names}）；{advice_text}"
    ),
    "skipped: a value is missing": "已跳过：缺少取值",
    # Images.
    "the request has {size} bytes with its images in it; allowed are {most}": (
        "请求连同图片共 {size} 字节；最多允许 {most}"
    ),
    "it begins like no {kind} format that Ark reads": "文件开头不是方舟支持的 {kind} 格式",
    "the file became shorter while it was read": "读取时文件变短了",
    "a link leads out of the directory of images": "链接指向图片目录之外",
    "this is no file": "这不是文件",
    "the file is empty": "文件为空",
    "the file has {size} bytes; allowed are {most}": "文件有 {size} 字节；最多允许 {most}",
    "there is no such file in {folder}": "{folder} 中没有该文件",
    "the path is absolute; write it relative to the directory of --images": (
        "路径是绝对路径；请写成相对于 --images 目录的路径"
    ),
    "the path leaves its directory by ..": "路径用 .. 离开了目录",
    "this is no path": "这不是路径",
    # A parameter that an endpoint does not take.
    "{name} is {value}; allowed is {allowed_text}": "{name} 是 {value}；允许的是{allowed_text}",
    "{name} is {value} and no parameter of the API, so it would change nothing: {advice_text}": (
        "{name} 是 {value}，不是接口的参数，不会起作用：{advice_text}"
    ),
    "write what it holds beside the other parameters": "请把其中的内容与其他参数并列写出",
    "leave it out": "请去掉",
    "a list of at least one message": "至少含一条消息的列表",
    "a text or a list of parts": "文本或分段列表",
    "a text or a list of at most 4 texts": "文本，或最多 4 个文本的列表",
    "a text or an object": "文本或对象",
    "max_tokens is set together with max_completion_tokens; allowed is one of the two": (
        "同时设置了 max_tokens 和 max_completion_tokens；只能用其中一个"
    ),
    "an object of token ids and numbers": "Token ID 与数字组成的对象",
    "an object with a role": "带 role 的对象",
    "a text such as user, assistant, system or tool": "user、assistant、system、tool 之类的文本",
    "an object with a type, such as text or image_url": "带 type（如 text 或 image_url）的对象",
    "a text or a list of 1 to {most} texts": "文本，或 1 到 {most} 个文本的列表",
    "{name} has {number} items; allowed is {most}": "{name} 有 {number} 项；最多 {most} 项",
    "{name} has {size} bytes; allowed is at most {most}": "{name} 有 {size} 字节；最多 {most} 字节",
    "a text, a list of texts, or tokens": "文本、文本列表或 Token",
    "a text that is not empty": "非空文本",
    "a list of objects": "对象列表",
    'a list of parts, such as {{"type": "text", "text": ...}} or {{"type": "image_url", "image_url": {{"url": '
    "...}}}}": (
        '分段列表，例如 {{"type": "text", "text": ...}} 或 {{"type": "image_url", "image_url": {{"url": ...}}}}'
    ),
    "a part with a type: text, image_url or video_url": "带 type（text、image_url 或 video_url）的分段",
    "a part with {name}, an object with a url": "带 {name} 的分段，且其中有 url",
    "sparse_embedding is enabled; allowed is that for texts alone, and the input shows something": (
        "启用了 sparse_embedding；它只用于纯文本，而输入中有图像或视频"
    ),
    "{name} is an endpoint for online calls; the batch lane takes batch endpoints ({prefix}...)": (
        "{name} 是在线接入点；批量通道使用批量接入点（{prefix}...）"
    ),
    "{name} is an endpoint; a batch inference job takes a model id, such as doubao-seed-1-6-251015": (
        "{name} 是接入点；批量推理任务使用模型 ID，例如 doubao-seed-1-6-251015"
    ),
    '{name} is a batch endpoint; it is called with lane = "batch" (--lane batch)': (
        '{name} 是批量接入点；请用 lane = "batch"（--lane batch）调用'
    ),
    "stream is true, and the batch lane does not stream; leave it out": "stream 为 true，但批量通道不支持流式；请去掉",
    "stream is true, and only chat and responses are streamed; leave it out": (
        "stream 为 true，但只有 chat 和 responses 支持流式；请去掉"
    ),
    "{name} is {value}: such a call returns before its answer exists, and arkbatch does not fetch it later; leave "
    "background out": "{name} 是 {value}：这种请求在回答产生之前就返回，而 arkbatch 不会再去取；请去掉 background",
    "instructions are set together with caching; Ark does not cache them: put them into input": (
        "同时设置了 instructions 和 caching；方舟不会缓存 instructions：请放入 input"
    ),
    "an object with a role or a type": "带 role 或 type 的对象",
    "a text or a list of at least one item": "文本，或至少一项的列表",
    "a text or a list of texts, none of them empty": "文本或文本列表，均不能为空",
    "a path below the base URL, such as /rerank": "接口地址之下的路径，例如 /rerank",
    # What a reply was.
    "no answer in time": "没有及时回答",
    "the connection ended early": "连接提前断开",
    "what came was no HTTP": "收到的不是 HTTP",
    "the reply is larger than allowed": "回复超出允许的大小",
    "the reply is over {size} MB": "回复超过 {size} MB",
    "an empty body": "回复内容为空",
    "the answer was broken off with finish reason {reason}": "回答中断，结束原因 {reason}",
    "the answer was refused with finish reason {reason}": "回答被拒绝，结束原因 {reason}",
    "the answer has no content (finish reason {reason})": "回答没有内容（结束原因 {reason}）",
    "the answer has no content: the output allowance ran out before it; raise max_completion_tokens": (
        "回答没有内容：输出额度先用完了；请调高 max_completion_tokens"
    ),
    "HTTP {status} without a message": "HTTP {status}，没有说明",
    "the reply is not JSON: {reason}": "回复不是 JSON：{reason}",
    "the prompt left no room for an answer": "提示词没有为回答留出空间",
    "the reply cannot be read ({reason})": "无法读取回复（{reason}）",
    "no data for {seconds} s": "{seconds} 秒没有数据",
    "the call took longer than timeouts.call = {seconds} s": "请求用时超过 timeouts.call = {seconds} 秒",
    "the stream ended before the answer did, without a finish reason": "流在回答完成之前结束，没有结束原因",
    "an event that is no chunk: {text}": "不是数据块的事件：{text}",
    "the server closed it without an answer": "服务器没有回答就断开了连接",
    "no connection: {address} cannot be reached ({reason})": "没有连接：无法连接 {address}（{reason}）",
    "{address} cannot be reached ({reason})": "无法连接 {address}（{reason}）",
    "{address}: no such name, or no network": "{address}：没有这个名称，或没有网络",
    "the proxy answered {status} {reason}": "代理回答 {status} {reason}",
    "the reply has no usable `{name}`; its keys: {names}": "回复中没有可用的 `{name}`；其中的键：{names}",
    "the reply is JSON, but no object: {text}": "回复是 JSON，但不是对象：{text}",
    "the reply has status 200 and holds an error": "回复状态为 200，内容却是错误",
    "{vectors} vectors came for {inputs} inputs": "{inputs} 个输入得到了 {vectors} 个向量",
    "of {inputs} inputs, {vectors} have a vector": "{inputs} 个输入中有 {vectors} 个得到向量",
    "the response is {status}, and arkbatch does not fetch it later": "响应状态为 {status}，而 arkbatch 不会再去取",
    "{counted} of {texts} texts were counted": "{texts} 个文本中统计了 {counted} 个",
    "the model refused: {text}": "模型拒绝：{text}",
    "the answer is no text": "回答不是文本",
    "the answer is no JSON ({reason}): {text}": "回答不是 JSON（{reason}）：{text}",
    "the answer is no JSON: it stands in a fence of backticks; ask for JSON alone, or set response_format": (
        "回答不是 JSON：它写在反引号代码块中；请要求只返回 JSON，或设置 response_format"
    ),
    "the answer does not satisfy the schema: {reason}": "回答不符合 schema：{reason}",
    "the model has not answered after {rounds} rounds of calling tools": "模型调用工具 {rounds} 轮后仍未回答",
    "the row failed, and is sent again in a batch file": "该行失败，改在批量文件中重新发送",
    "{attempts} of {most} attempts spent": "已用 {most} 次尝试中的 {attempts} 次",
    "waited {seconds} s for the service, of {most} s at most": "已等待服务 {seconds} 秒，最多 {most} 秒",
    "{message_text} (the run was stopped before the next try)": "{message_text}（下一次尝试之前运行已停止）",
    "The first {rows} rows were all refused for the same reason: {reason}": "前 {rows} 行都因同一原因被拒绝：{reason}",
    "{rows} rows in a row were refused alike: {reason}": "连续 {rows} 行都因同样原因被拒绝：{reason}",
    "the service has been away for {time}": "服务已中断 {time}",
    "the service has not answered in {time}": "服务在 {time} 内没有应答",
    "{host} wants an API key and got none, since a key is sent only to the address that it was given for: set "
    "OPENAI_API_KEY and OPENAI_BASE_URL, or ARK_API_KEY and ARK_BASE_URL, together for it": (
        "{host} 需要 API Key 但没有收到，因为 Key 只会发送到与它一起设置的地址：请为它同时设置 OPENAI_API_KEY 和 "
        "OPENAI_BASE_URL，或 ARK_API_KEY 和 ARK_BASE_URL"
    ),
    "an access key alone does not open {model}: name its project as well, or use an inference endpoint (ep-...), or "
    "an API key": "仅有访问密钥不能使用 {model}：请同时给出项目，或使用推理接入点（ep-...）或 API Key",
    "{name} was refused ({reason}); {advice_text}": "{name} 被拒绝（{reason}）；{advice_text}",
    "check the access key, its rights and the address of the control plane": "请检查访问密钥、其权限和管控接口的地址",
    "this machine's clock is wrong; set it, for instance with NTP": "本机时间不准；请校准，例如用 NTP",
    "the encryption certificate for {model} must not be used: {reason}; nothing was sent. Give a good one with "
    "--certificate, or ask the service for a new one": (
        "不能使用 {model} 的加密证书：{reason}；没有发送任何内容。请用 --certificate 给出有效的证书，或向服务方申请新的"
    ),
    "{calls} calls at once take {files} open files, and this system allows {most}: lower --concurrency, or raise the "
    "limit (ulimit -Hn)": (
        "{calls} 个并发请求需要打开 {files} 个文件，而系统只允许 "
        "{most} 个：请降低 --concurrency，或提高上限（ulimit -Hn）"
    ),
    "{name} is a SOCKS proxy, and arkbatch needs an HTTP proxy: name one (http://HOST:PORT), {advice_text}": (
        "{name} 是 SOCKS 代理，而 arkbatch 需要 HTTP 代理：请给出 http://HOST:PORT，{advice_text}"
    ),
    "{name} has no scheme: write http://{rest}, {advice_text}": "{name} 缺少协议：请写 http://{rest}，{advice_text}",
    "{name} is not the URL of a proxy: write http://HOST:PORT, {advice_text}": (
        "{name} 不是代理地址：请写 http://HOST:PORT，{advice_text}"
    ),
    "or add {host} to NO_PROXY, to go without one": "或把 {host} 加入 NO_PROXY，不经代理",
    # Prices, bills and estimates.
    "The bill {file} is text neither in UTF-8 nor in GBK. Export it as CSV.": (
        "账单 {file} 既不是 UTF-8 也不是 GBK 文本。请导出为 CSV。"
    ),
    "{place}: {text} is no day.": "{place}：{text} 不是日期。",
    "{place}: {text} is no number.": "{place}：{text} 不是数字。",
    "Cannot read the bill {file}: {reason}.": "无法读取账单 {file}：{reason}。",
    "The bill {file} is not a CSV file: {reason}.": "账单 {file} 不是 CSV 文件：{reason}。",
    "{file}: {name} is not a key of a price table: {hint_text}": "{file}：{name} 不是价格表的键：{hint_text}",
    "{file}: write each model as [[model]] and the names as [map]": (
        "{file}：每个模型请写成 [[model]]，名称写成 [map]"
    ),
    "{name} is not a table": "{name} 不是表",
    "{name} has no price that holds here: its prices are those of {first}, and this server has those of {second}. Take "
    "the line provider = ... out of it for prices that hold at every server": (
        "{name} 没有适用于此处的价格：其中是 {first} 的价格，而该服务器适用 {second} 的价格。"
        "若价格适用于任何服务器，请去掉 provider = ... 这一行"
    ),
    "cannot read the prices in {file}: {reason}": "无法读取 {file} 中的价格：{reason}",
    "{file} is not TOML: {reason}": "{file} 不是 TOML：{reason}",
    '{file}: "{name}" is mapped to "{family}", which is not in the price book': (
        '{file}："{name}" 对应到 "{family}"，而价目表中没有它'
    ),
    "{name} has prices both with and without tiers": "{name} 同时有分档和不分档的价格",
    "{name} is not a whole price: {reason}; input, output and currency are needed": (
        "{name} 的价格不完整：{reason}；需要 input、output 和 currency"
    ),
    "{file}: {name} stands twice with the same effective_from": "{file}：{name} 以相同的 effective_from 出现了两次",
    '{file}: [map] leads from a name to a family: "{name}" = "{family}"': (
        '{file}：[map] 由名称对应到系列："{name}" = "{family}"'
    ),
    "{file}: {name} belongs to {first} and to {second}": "{file}：{name} 同时属于 {first} 和 {second}",
    "no price list of Ark has it, and its replies count no tokens: nothing seems to be billed": (
        "方舟的价目表中没有它，且回复不计 Token：似乎不收费"
    ),
    "{model} is not in the price book for this server": "该服务器的价目表中没有 {model}",
    "{model} has no price": "{model} 没有价格",
    "a reply without a model": "没有模型名的回复",
    "the reply did not count its output": "回复没有统计输出",
    "the reply did not count its tokens": "回复没有统计 Token",
    "the price is not known": "价格未知",
    "cannot write the bill to {file}: {reason}": "无法把账单写入 {file}：{reason}",
    # Batch files.
    "{done} of {all} were exported: arkbatch collect {run_dir} FILE... merges what came of them, and arkbatch cancel "
    "{again} takes them back.": (
        "{all} 中有 {done} 已导出：用 arkbatch collect {run_dir} FILE... 合并结果，用 arkbatch cancel {again} 撤回。"
    ),
    "{file} does not exist or is not a file": "{file} 不存在或不是文件",
    "{file} holds requests, as arkbatch export writes them, and no answers. Name the output and error files that came "
    "of it": "{file} 里是请求（arkbatch export 写出的文件），不是回答。请给出由它得到的输出文件和错误文件",
    "{rows} of {run_dir} were ordered with --lane {lane}: the same command with it collects them, and arkbatch cancel "
    "{again} takes them back.": (
        "{run_dir} 的 {rows} 已用 --lane {lane} 提交：同一命令加该选项可收取结果，用 arkbatch cancel {again} 撤回。"
    ),
    "{rows} of {run_dir} travel in {batches}, and would be paid "
    "twice: {advice_text}; arkbatch cancel {again} takes the "
    "rows back.": (
        "{run_dir} 的 {rows} 正在 {batches} 中处理，再发送会重复付费："
        "{advice_text}；arkbatch cancel {again} 可撤回这些行。"
    ),
    "arkbatch collect {run_dir} FILE... merges what came of them": "用 arkbatch collect {run_dir} FILE... 合并结果",
    "the same command with --lane {lane} collects them": "同一命令加 --lane {lane} 可收取结果",
    'the form "{form}" has no service to send files to: write the files with arkbatch export, and merge what comes of '
    "them with arkbatch collect": (
        '格式 "{form}" 没有可提交文件的服务：请用 arkbatch export 写出文件，再用 arkbatch collect 合并结果'
    ),
    "{file} is missing or damaged, so that batches may be open which would be paid twice. Run the same command with "
    "the --lane that it had (files or job): it finds them at the provider and collects them.": (
        "{file} 缺失或损坏，可能有未完成的批量任务，再发送会重复付费。"
        "请用原来的 --lane（files 或 job）运行同一命令：它会在服务商处找到并收取。"
    ),
    'there is no form of batch files called "{form}"; known are {names}': (
        '没有名为 "{form}" 的批量文件格式；已知的有 {names}'
    ),
    "the reply is {text} and no JSON object": "回复不是 JSON 对象，而是：{text}",
    "the reply is an error: {text}": "回复是错误：{text}",
    "the reply has no id of a batch": "回复中没有批量任务的 ID",
    "the reply has no id of a file": "回复中没有文件的 ID",
    "the list {path} says that it goes on, and repeats what it gave before": (
        "列表 {path} 表示还有后续，却重复之前的内容"
    ),
    "a reply without an id": "回复中没有 ID",
    "there is no job {name}": "没有任务 {name}",
    "a batch cannot be {name}": "批量任务不能是 {name}",
    "tools: a batch has no second round": "tools：批量任务没有第二轮",
    "encrypt = true: only Ark's online calls are encrypted": "encrypt = true：只有方舟的在线请求可加密",
    "stream = true: batch files are not streamed": "stream = true：批量文件不支持流式",
    "hedge = true: a batch is not a call that can be too slow": "hedge = true：批量任务不是可能过慢的单个请求",
    "dedupe = true: each row has a line of its own in a batch file": "dedupe = true：批量文件中每行各占一行",
    # Several machines.
    "A run on several workers keeps one budget: give --max-cost or --max-tokens.": (
        "多个工作进程的运行只有一个预算：请给出 --max-cost 或 --max-tokens 之一。"
    ),
    "The input changed since one machine worked on it. Bring the records up to date first: give `arkbatch run` the "
    "same input, with -o {run_dir} --rebase.": (
        "输入在单机处理之后有变化。请先更新记录：对同一输入运行 `arkbatch run`，并加 -o {run_dir} --rebase。"
    ),
    "{run_dir} was worked on without shards since the last merge, so the shards are out of date. Go on with: arkbatch "
    "run": "{run_dir} 在上次合并后曾不分片运行，分片已过期。请用 arkbatch run 继续",
    "The cluster has arkbatch {first} on Python {second}, and this machine arkbatch {third} on Python {fourth}. Start "
    "the run where both are the same.": (
        "集群是 arkbatch {first}（Python {second}），本机是 arkbatch {third}（Python {fourth}）。"
        "请在两者相同的机器上启动。"
    ),
    "Cannot use Ray at {address}: {reason}.": "无法使用 {address} 的 Ray：{reason}。",
    "The coordinator needs a token of {most} characters or more{place}. Leave {name} unset to have one made.": (
        "协调进程需要至少 {most} 个字符的令牌{place}。不设置 {name} 则自动生成。"
    ),
    "{run_dir} has no coordinator. Start one with: {command}": "{run_dir} 没有协调进程。请启动：{command}",
    "The coordinator at {address} refused the token.": "{address} 的协调进程拒绝了令牌。",
    "The coordinator did not answer for {seconds} s: {reason}.": "协调进程 {seconds} 秒没有应答：{reason}。",
    "{file} changed since the run was planned. Put the old file back, or begin a run in another directory.": (
        "{file} 在规划之后有变化。请放回旧文件，或在另一个目录开始运行。"
    ),
    "{run_dir} has no {file}. Make it with: {command}": "{run_dir} 没有 {file}。请生成：{command}",
    "{run_dir} is led by {writer}. Wait for it to end, or end it with: {command}": (
        "{run_dir} 正由 {writer} 主持。请等待其结束，或用以下命令结束它：{command}"
    ),
    "Shard {shard} of {run_dir} is being worked on by {writer}. Wait for it to end.": (
        "{run_dir} 的分片 {shard} 正由 {writer} 处理。请等待其结束。"
    ),
    "Shard {shard} was given to another worker, since this one was not heard.": (
        "分片 {shard} 已交给另一个工作进程，因为本进程失去联系。"
    ),
    "No coordinator of {run_dir} works on this machine. Give the order on the machine where it was started, or start "
    "it here with: {command}": "本机没有 {run_dir} 的协调进程。请在启动它的机器上下达命令，或在此启动：{command}",
    "Give --index I, or start the coordinator in another terminal: {command}": (
        "请给出 --index I，或在另一个终端启动协调进程：{command}"
    ),
    "{run_dir} is a run of several machines. Go on with: {command}, and on each machine {worker}": (
        "{run_dir} 是多台机器的运行。请继续：{command}，并在每台机器上 {worker}"
    ),
    "{run_dir} was planned by another process meanwhile. Run the command again.": (
        "{run_dir} 同时被另一个进程规划。请重新运行该命令。"
    ),
    "{folder}/{file} is there, and the segment before it is not. Restore it from a backup, or delete the segments "
    "after byte {place}.": (
        "{folder}/{file} 存在，但它之前的分段不在。请从备份恢复，或删除第 {place} 字节之后的分段。"
    ),
    "{file} cannot be read ({reason}). Delete it and start the coordinator again.": (
        "无法读取 {file}（{reason}）。请删除它并重新启动协调进程。"
    ),
    "The answers of shard {shard} could not be uploaded: {reason} They are safe in {folder}; the next worker on this "
    "machine uploads them.": (
        "分片 {shard} 的回答无法上传：{reason} 它们安全地保存在 {folder} 中；本机的下一个工作进程会上传。"
    ),
    "{folder} belongs to another user. Set TMPDIR to a directory of your own.": (
        "{folder} 属于其他用户。请把 TMPDIR 设为您自己的目录。"
    ),
    "The run is led by the coordinator at {address}. Stop that one first, with Ctrl-C.": (
        "该运行由 {address} 的协调进程主持。请先用 Ctrl-C 停止它。"
    ),
    "The coordinator did not answer for {time} minutes ({reason}). Start it with {command}, then run the same command "
    "again.": "协调进程 {time} 分钟没有应答（{reason}）。请用 {command} 启动它，再运行同一命令。",
    # The simulator.
    "there is no certificate {name}, only {names}": "没有证书 {name}，只有 {names}",
    "the rates of all faults together exceed 1": "所有故障的概率之和超过 1",
    "{name} is {value}; it must be at least 1, or be left out": "{name} 是 {value}；至少为 1，或去掉",
    "{name} is {value}; it cannot be negative": "{name} 是 {value}；不能为负",
    "there is no {kind} named {name}; the menu is {names}": "没有名为 {name} 的 {kind}；可选的有 {names}",
    "the rate of {kind} {name} is {value}; it must lie between 0 and 1": (
        "{kind} {name} 的概率是 {value}；应在 0 到 1 之间"
    ),
    # Hours and deadlines.
    "will be late by {time}: done at about {moment}, due by {due}, with {rest}": (
        "将迟到 {time}：预计 {moment} 完成，期限 {due}，剩余 {rest}"
    ),
    "late: it was due by {due}, with {rest}": "已迟：期限 {due}，剩余 {rest}",
    "will be in time: done at about {moment}, due by {due}": "能按时完成：预计 {moment} 完成，期限 {due}",
    "outside its hours": "不在运行时段内",
    # What `status` and the summary say of a run.
    "{cost_text} ({reason_text}; `--prices FILE` gives one)": "{cost_text}（{reason_text}；可用 `--prices FILE` 给出）",
    "{cost_text}, {part} of it for discarded answers": "{cost_text}，其中 {part} 用于浪费的回答",
    "{cost_text} + {number} row without a price": "{cost_text} + {number} 行没有价格",
    "{cost_text} + {number} rows without a price": "{cost_text} + {number} 行没有价格",
    "{number} row without a price": "{number} 行没有价格",
    "{number} rows without a price": "{number} 行没有价格",
    "{cost_text} (as reported by the provider)": "{cost_text}（平台报告）",
    "at most {cost} in all ({other} on the {lane} lane)": "合计最多 {cost}（{lane} 通道为 {other}）",
    "at most {cost} in all ({other} on the {lane} lane), {rest_text}": (
        "合计最多 {cost}（{lane} 通道为 {other}），{rest_text}"
    ),
    "nothing was billed": "没有收费",
    "today's prices": "今天的价格",
    "first token p50 {first} s, p95 {second} s": "首个 Token p50 {first} s，p95 {second} s",
    "first token p50 {first} s, p95 {second} s; then {speed} tokens/s": (
        "首个 Token p50 {first} s，p95 {second} s；之后每秒 {speed} Token"
    ),
    "{limits}, fixed": "{limits}，固定",
    "{limits}; since {moment} UTC: {reason_text}": "{limits}；自 {moment} UTC 起：{reason_text}",
    "{limits_text}, {number} calls at once; since {moment} UTC: {reason_text}": (
        "{limits_text}，{number} 个并发请求；自 {moment} UTC 起：{reason_text}"
    ),
    "refused {number} times since {moment}": "自 {moment} 起被拒绝 {number} 次",
    "refused {number} times since {moment}, asked to wait until {until}": (
        "自 {moment} 起被拒绝 {number} 次，要求等到 {until}"
    ),
    "waiting for {moment}, in {time}": "等待到 {moment}（{time} 后）",
    "outside its hours ({window}): waiting for {moment}, in {time}": (
        "不在运行时段内（{window}）：等待到 {moment}（{time} 后）"
    ),
    "outside its hours ({window}): waiting for {moment}, in {time}; --window {always} begins at once": (
        "不在运行时段内（{window}）：等待到 {moment}（{time} 后）；用 --window {always} 立即开始"
    ),
    "raise {name} from {value} to about {wanted}": "把 {name} 从 {value} 提高到约 {wanted}",
    "send fewer rows (--limit)": "减少要发送的行（--limit）",
    "the service grants no more: ask it for a higher limit, or share the rows among models": (
        "服务不允许更快：请申请提高上限，或把行分给多个模型"
    ),
    "row {row} (line {line}) of {file}": "{file} 第 {row} 行（文件第 {line} 行）",
    "line {line} of {file}": "{file} 第 {line} 行",
    "row {row} of {file}": "{file} 第 {row} 行",
    "as it is": "未变",
    # `ctl`.
    "Paused: no call begins; {flight_text}.": "已暂停：不再开始新请求；{flight_text}。",
    "It has been paused for {time}.": "已暂停 {time}。",
    "It is not paused.": "没有暂停。",
    "Went on after {time}.": "暂停 {time} 后继续。",
    "nothing is in flight": "没有进行中的请求",
    "{number} call in flight finishes": "{number} 个进行中的请求会完成",
    "{number} calls in flight finish": "{number} 个进行中的请求会完成",
    "Stopping: {flight_text}, and the rows left stay undone.": "正在停止：{flight_text}，剩余的行不再处理。",
    "Stopping: {flight_text}, and the rows left stay undone. Resume later with:  {command}": (
        "正在停止：{flight_text}，剩余的行不再处理。之后继续运行：  {command}"
    ),
    "Stopping: {flight_text}; {number} rows left, {failed} failed.": (
        "正在停止：{flight_text}；剩余 {number} 行，失败 {failed}。"
    ),
    "Nothing to change: {limits} already.": "无需改动：已是 {limits}。",
    "Set {limits}. This session only: the next one goes by the job ({job}).": (
        "已设置 {limits}。仅本次会话有效：下次会话按任务文件（{job}）。"
    ),
    "Running: {number} in flight, {speed_text}; {left} rows left, {failed} failed; {limits}.": (
        "运行中：进行中 {number}，{speed_text}；剩余 {left} 行，失败 {failed}；{limits}。"
    ),
    "Running: {number} in flight, {speed_text}, limited by {bound_text}; {left} rows left, {failed} failed; "
    "{limits}.": (
        "运行中：进行中 {number}，{speed_text}，受限于{bound_text}；剩余 {left} 行，失败 {failed}；{limits}。"
    ),
    "{requests} requests and {tokens} tokens a minute": "每分钟 {requests} 请求、{tokens} Token",
    # What is said at the end of a command.
    "Nothing was sent. {input} has {rows} rows; they would go to {address}, {pace_text}, into {run_dir}.": (
        "没有发送任何请求。{input} 有 {rows} 行，将发往 {address}，{pace_text}，写入 {run_dir}。"
    ),
    "Nothing was sent. {input} has {rows} rows, of which the first {limit} would go to {address}, {pace_text}, into "
    "{run_dir}.": (
        "没有发送任何请求。{input} 有 {rows} 行，其中前 {limit} 行将发往 {address}，{pace_text}，写入 {run_dir}。"
    ),
    "Nothing was sent. {input} has 1 row; it would go to {address}, {pace_text}, into {run_dir}.": (
        "没有发送任何请求。{input} 有 1 行，将发往 {address}，{pace_text}，写入 {run_dir}。"
    ),
    "at most {number} requests a minute, {calls} calls at once": "每分钟最多 {number} 个请求，{calls} 个并发请求",
    "Note: {number} answers in {run_dir} were not looked at; --sample measures, and asks for none of them again.": (
        "提示：没有参考 {run_dir} 中的 {number} 个回答；--sample 可实测，且不会重复请求它们。"
    ),
    "Note: {number} answer in {run_dir} was not looked at; --sample measures, and asks for none of them again.": (
        "提示：没有参考 {run_dir} 中的 {number} 个回答；--sample 可实测，且不会重复请求它们。"
    ),
    "No price for {names}: {reason_text}.": "{names} 没有价格：{reason_text}。",
    "as its limits allow": "视其上限而定",
    "as online; refused while the service is busy": "与在线相同；服务繁忙时会被拒绝",
    "slower than online; refused while the service is busy": "比在线慢；服务繁忙时会被拒绝",
    "up to 72 h for a call, held open; needs an ep-bi-... endpoint": "单个请求最长等待 72 小时；需要 ep-bi-... 接入点",
    "within {time}; needs a bucket of TOS": "{time} 内；需要 TOS 存储桶",
    "no price": "没有价格",
    "Collect:  {command}": "收取：  {command}",
    "Cancel:  {command}": "取消：  {command}",
    "Without a price: {reason_text}. Give one with --reprice --prices FILE.": (
        "没有价格：{reason_text}。请用 --reprice --prices FILE 给出。"
    ),
    "Left to send now: {left} of {number} row.": "现在还要发送：{number} 行中的 {left} 行。",
    "Left to send now: {left} of {number} rows.": "现在还要发送：{number} 行中的 {left} 行。",
    "Read every line:  {command}": "读取每一行：  {command}",
    "Nobody works on {run_dir} now. {next_text}": "现在没有进程在处理 {run_dir}。{next_text}",
    "Look:  {command}": "查看：  {command}",
    "No browser was found to open it.": "没有找到可以打开它的浏览器。",
    "No batch is open.": "没有未完成的批量任务。",
    "Watching {run_dir} until Ctrl-C:  {url}": "正在查看 {run_dir}（按 Ctrl-C 结束）：  {url}",
    "Wrote {files} into {folder}.": "已把 {files} 写入 {folder}。",
    "Try it, with made-up answers and no key:": "试运行（编造的回答，不需要 Key）：",
    "Run it, once ARK_API_KEY stands in {file} (see .env.example there):": (
        "在 {file} 中写入 ARK_API_KEY 后运行（见其中的 .env.example）："
    ),
    "Run it, once OPENAI_API_KEY stands in {file}:": "在 {file} 中写入 OPENAI_API_KEY 后运行：",
    "no limit met so far": "目前没有遇到上限",
    "the limits are fixed: they do not adapt to the service": "上限是固定的：不会随服务调整",
    "the service refused more than {number} calls a minute": "服务拒绝了每分钟超过 {number} 个的请求",
    "the service refused more than {number} calls at once": "服务拒绝了超过 {number} 个的并发请求",
    "the service refuses every call; single calls try it now and then": "服务拒绝所有请求；会不时用单个请求尝试",
    "the service asked for fewer calls": "服务要求减少请求",
    "an earlier session found {number} calls a minute": "之前的会话测得每分钟 {number} 个请求",
    "{number} calls a minute are published for the model": "该模型公布的上限为每分钟 {number} 个请求",
    "{number} requests a minute": "每分钟 {number} 个请求",
    "{number} calls at once": "{number} 个并发请求",
    "Total: {cost_text}, by {prices_text}.": "合计：{cost_text}，按{prices_text}。",
    "the prices that each run was done at": "各运行执行时的价格",
    "Not included, as no reply tells it: storage of explicit caches, free quota, discounts of your contract.": (
        "不包括回复中没有说明的部分：显式缓存的存储、免费额度、合同折扣。"
    ),
    "of it discarded": "其中浪费",
    "of it cached": "其中缓存",
    "of it reasoning": "其中思考",
    "Everything is ordered. The answers come later; what is recorded is safe.": (
        "已全部提交。回答稍后到达；已记录的结果是安全的。"
    ),
}
