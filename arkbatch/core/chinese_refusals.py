"""The Chinese of the sentences with which arkbatch refuses something, by their English text.

Names in braces stand for what was filled in. A value whose name ends in `_text` is translated too; every other value,
such as the name of a file or of a column, stays as it is.
"""

CHINESE_REFUSALS: dict[str, str] = {
    # The input and its format.
    "{file} has two columns called {name}: rename one of them": "{file} 有两列都叫 {name}：请给其中一列改名",
    "Cannot read the input {file}: {reason}. Write the file again.": (
        "无法读取输入 {file}：{reason}。请重新写出该文件。"
    ),
    "Cannot read the input {file}: {reason}. Check the path and its permissions.": (
        "无法读取输入 {file}：{reason}。请检查路径及其权限。"
    ),
    "{file} holds the splits {names}: name one, such as {example}": (
        "{file} 包含多个部分（{names}）：请指明其中一个，例如 {example}"
    ),
    "{file} is a table of Markdown: take out its line of dashes, and save it as CSV": (
        "{file} 是 Markdown 表格：请去掉短横线那一行，并存为 CSV"
    ),
    "{file}: columns {first} and {second} are both called {name}: rename one of them, or say --no-header and call "
    "them 1, 2, 3 ...": (
        "{file}：第 {first} 列和第 {second} 列都叫 {name}：请给其中一列改名，或用 --no-header，按 1、2、3……称呼各列"
    ),
    "two columns are called {name}: rename one of them, or say --no-header": (
        "有两列都叫 {name}：请给其中一列改名，或用 --no-header"
    ),
    "there is no sheet {name}; its sheets are {names}": "没有工作表 {name}；现有工作表：{names}",
    "Cannot read the workbook {file}: {reason_text}": "无法读取工作簿 {file}：{reason_text}",
    "{file} is a damaged {kind} file ({reason}). Compress it again.": (
        "{file} 是损坏的 {kind} 文件（{reason}）。请重新压缩。"
    ),
    "{file} is tables and JSON lines: give files of one kind": "{file} 既有表格又有 JSON Lines：请只给同一种文件",
    "Standard input cannot be one of several inputs: save it to a file first": (
        "标准输入不能是多个输入之一：请先存为文件"
    ),
    '{file} is a job file, and takes no other inputs: write input = ["a.csv", "b.csv"] in it': (
        '{file} 是任务文件，不能再带其他输入：请在其中写 input = ["a.csv", "b.csv"]'
    ),
    "{file} cannot be one of several inputs: copy it first, and name the file": (
        "{file} 不能是多个输入之一：请先复制到本地，再给出文件名"
    ),
    "{file} holds several lists ({names}): write each to a file of its own, such as:  {command}": (
        "{file} 含有多个列表（{names}）：请分别写入各自的文件，例如：  {command}"
    ),
    "{file} holds columns and not rows. In pandas, write it with {command}.": (
        "{file} 按列存放，而不是按行。在 pandas 中请用 {command} 写出。"
    ),
    "{file} is a ZIP archive and no workbook. Unpack it first:  {command}": (
        "{file} 是 ZIP 压缩包，不是工作簿。请先解压：  {command}"
    ),
    "{file} is {kind_text} and no table. Save its rows as CSV, Excel, Parquet or JSON lines.": (
        "{file} 是{kind_text}，不是表格。请把各行存为 CSV、Excel、Parquet 或 JSON Lines。"
    ),
    "a PDF document": " PDF 文档",
    "a web page": "网页",
    "an XML document": " XML 文档",
    "a text document (RTF)": " RTF 文档",
    "an SQLite database": " SQLite 数据库",
    "an Avro file": " Avro 文件",
    "an array of NumPy": " NumPy 数组",
    "an image": "图片",
    "a YAML document": " YAML 文档",
    "a script of SQL": " SQL 脚本",
    "--encoding {name} is no encoding that is known; known are {names} and others": (
        "--encoding {name} 不是已知的编码；已知的有 {names} 等"
    ),
    "{file} is not UTF-8, and its encoding is not clear{readings}: say --encoding NAME, such as --encoding big5; with "
    "--encoding utf-8 the lines that are damaged fail, and the others are sent": (
        "{file} 不是 UTF-8，编码无法确定{readings}：请用 --encoding 指定，例如 --encoding big5；"
        "用 --encoding utf-8 时，损坏的行会失败，其余照常发送"
    ),
    "{file} needs: {command}": "{file} 需要：{command}",
    "No file matches {pattern}. Check the path.": "没有文件匹配 {pattern}。请检查路径。",
    "The input {file} of this run is no longer there: bring it back, or name it with --input FILE.": (
        "该运行的输入 {file} 已不存在：请放回原处，或用 --input FILE 指定。"
    ),
    "The input {file} has changed: row {row} is no longer what was sent. Run it with --rebase, or name the input that "
    "the run began with: --input FILE.": (
        "输入 {file} 有变化：第 {row} 行与发送时不同。请用 --rebase 运行，或用 --input FILE 指定运行开始时的输入。"
    ),
    # Object storage.
    "{name} holds {size} bytes after the upload, and {file} has {wanted}. Upload again.": (
        "上传后 {name} 有 {size} 字节，而 {file} 有 {wanted} 字节。请重新上传。"
    ),
    "{name} is no address of an object, such as {scheme}://BUCKET/NAME": (
        "{name} 不是对象的地址，地址应如 {scheme}://BUCKET/NAME"
    ),
    "TOS_ENDPOINT: {name} does not speak S3. Give {right}.": "TOS_ENDPOINT：{name} 不支持 S3 协议。请改为 {right}。",
    "{scheme}:// needs {first} or {second} in the environment.": "{scheme}:// 需要设置环境变量 {first} 或 {second}。",
    "{name} does not exist, or may not be read with these keys.": "{name} 不存在，或当前密钥无权读取。",
    "{name} changed while it was read. Run the same command again.": "{name} 在读取时发生了变化。请重新运行同一命令。",
    "{name} exists. Give another name, or --force to replace it.": "{name} 已存在。请换个名称，或用 --force 覆盖。",
    "Cannot reach {name}: {reason}. Check the address, the keys and the permissions.": (
        "无法访问 {name}：{reason}。请检查地址、密钥和权限。"
    ),
    "{name} changed since it was copied to {file}. To go on with the copy, give {same} as the input; for the new "
    "version, give another directory with -o.": (
        "{name} 在复制到 {file} 之后有变化。若继续用副本，请以 {same} 为输入；若用新版本，请用 -o 指定另一个目录。"
    ),
    # Job file and options.
    "{place}: a key does not belong here, {advice_text}": "{place}：Key 不应写在这里，{advice_text}",
    "set ARK_API_KEY in the environment or in .env": "请在环境变量或 .env 中设置 ARK_API_KEY",
    'put it into a variable and write {name} = "env:NAME"': '请放入环境变量，并写 {name} = "env:NAME"',
    "an address is text in quotes": "地址应为带引号的文本",
    '"{name}" is in retry_on_finish_reason and in fail_on_finish_reason: choose one': (
        '"{name}" 同时出现在 retry_on_finish_reason 和 fail_on_finish_reason 中：请只留一个'
    ),
    'stream = true, and the batch lane does not stream: leave it out, or lane = "batch"': (
        'stream = true，但批量通道不支持流式：请去掉它，或去掉 lane = "batch"'
    ),
    "confidential = true is a way to encrypt: write encrypt = true as well": (
        "confidential = true 是一种加密方式：请同时写 encrypt = true"
    ),
    'encrypt = true works for chat only, and endpoint is "{endpoint}"': (
        'encrypt = true 只用于 chat，而 endpoint 是 "{endpoint}"'
    ),
    'template.{name} is missing, and endpoint is "{endpoint}"': '缺少 template.{name}，而 endpoint 是 "{endpoint}"',
    "not UTF-8 at byte {place}": "第 {place} 字节处不是 UTF-8",
    "{name} is not UTF-8 at byte {place}": "{name} 在第 {place} 字节处不是 UTF-8",
    "defaults.{name} would stand in every row: {advice_text}": "defaults.{name} 会写进每一行：{advice_text}",
    "write model at the top of the job file, or give --model": "请把 model 写在任务文件开头，或用 --model 指定",
    "each row has its own, or [template] builds them": "各行自带，或由 [template] 生成",
    "each row has its own, or [template] builds it": "各行自带，或由 [template] 生成",
    "{name} = {value} is a date or time: write it as text in quotes": (
        "{name} = {value} 是日期或时间：请写成带引号的文本"
    ),
    "{name} = {value} is not a finite number": "{name} = {value} 不是有限的数",
    "first_delay {first} is more than max_delay {most}": "first_delay {first} 大于 max_delay {most}",
    'window = "{text}" is not a window: write it as 22:00-08:00 or 22:00-08:00 Asia/Shanghai': (
        'window = "{text}" 不是时段：请写成 22:00-08:00 或 22:00-08:00 Asia/Shanghai'
    ),
    '{name} = "{text}" is not a window: write it as 22:00-08:00 or 22:00-08:00 Asia/Shanghai': (
        '{name} = "{text}" 不是时段：请写成 22:00-08:00 或 22:00-08:00 Asia/Shanghai'
    ),
    'window = "{text}" begins when it ends: for the whole day write "{day}"': (
        'window = "{text}" 的开始和结束相同：若为全天，请写 "{day}"'
    ),
    'finish_by = "{text}" is not a time: write it as 08:00, as 2026-11-22 08:00, or as 08:00 Asia/Shanghai': (
        'finish_by = "{text}" 不是时间：请写成 08:00、2026-11-22 08:00 或 08:00 Asia/Shanghai'
    ),
    "{hours}:{minutes} is not a time of day: hours go from 00:00 to 24:00": (
        "{hours}:{minutes} 不是一天中的时刻：应在 00:00 到 24:00 之间"
    ),
    "{name} is no place that this machine knows the time of: {advice_text}": (
        "本机不知道 {name} 的时区：{advice_text}"
    ),
    "it has no time zone database, so pip install tzdata, or write an offset such as +08:00": (
        "本机没有时区数据库，请 pip install tzdata，或写成 +08:00 这样的偏移"
    ),
    "write it as in Asia/Shanghai, as UTC or as +08:00": "请写成 Asia/Shanghai、UTC 或 +08:00",
    "single '}}' encountered ({advice_text})": "有单独的 '}}'（{advice_text}）",
    "{part}: single '}}' encountered ({advice_text})": "{part}：有单独的 '}}'（{advice_text}）",
    "expected '}}' ({advice_text})": "缺少 '}}'（{advice_text}）",
    "{{{name}}} is not the name of a column ({advice_text})": "{{{name}}} 不是列名（{advice_text}）",
    "a brace that is not a placeholder is written twice: {{{{": "不是占位符的花括号要写两次：{{{{",
    "says neither user (for chat) nor input (for embeddings)": "没有写 user（对话）或 input（向量）",
    "delimiter {text} is not one character": "分隔符 {text} 不是单个字符",
    "it is nested too deeply": "嵌套过深",
    "it holds a number that is too long": "含有过长的数字",
    "--set {text} cannot be sent: {reason_text}": "--set {text} 无法发送：{reason_text}",
    "--set {text} is nested too deeply": "--set {text} 嵌套过深",
    "{text} cannot be set: {name} = {value} is not a table": "无法设置 {text}：{name} = {value} 不是表",
    "unknown flags: {names}": "未知的选项：{names}",
    "headers.{name} is not a valid header name": "headers.{name} 不是有效的请求头名称",
    "headers.{name} differs with each call: give request_id_prefix, or request_id in a row": (
        "headers.{name} 每次请求都不同：请给出 request_id_prefix，或在行中给出 request_id"
    ),
    "headers.{name} is set by arkbatch itself: leave it out": "headers.{name} 由 arkbatch 自己设置：请去掉",
    "{place}: {name} is never sent as it is": "{place}：{name} 不会原样发送",
    "{place} {name} is set neither in the environment nor in .env": "{place} {name} 在环境变量和 .env 中都没有设置",
    "headers.{name} holds a character that a header cannot have": "headers.{name} 含有请求头不允许的字符",
    "{place}: {name} goes only to the address that it was given for, and that is not {host}: set {variable} to it, or "
    "take a variable with another name": (
        "{place}：{name} 只会发送到与它一起设置的地址，而那不是 "
        "{host}：请把 {variable} 设为该地址，或换用其他名称的变量"
    ),
    'Ark takes no batch files over this API: lane = "job" has the same price (with a bucket of TOS), and so has '
    'lane = "batch" (for ep-bi-... endpoints)': (
        '方舟不通过此接口接收批量文件：lane = "job" 价格相同（需要 TOS 存储桶），lane = "batch"（用于 ep-bi-... '
        "接入点）也一样"
    ),
    'lane = "job" needs a bucket of TOS in the region of Ark: give bucket under [files] (--bucket). Without one, write '
    "the files with arkbatch export --form ark-job, make the job in Ark's console, and merge what comes of it with "
    "arkbatch collect": (
        'lane = "job" 需要与方舟同区域的 TOS 存储桶：请在 [files] 下写 bucket（--bucket）。没有存储桶时，用 '
        "arkbatch export --form ark-job 写出文件，在方舟控制台创建任务，再用 arkbatch collect 合并结果"
    ),
    "hedge is for online calls: those of the batch lane are held for hours by nature": (
        "hedge 用于在线请求：批量通道的请求本来就可能等待数小时"
    ),
    "an access key opens the plain model id {model} only together with its project: give project (--project), or an "
    "inference endpoint (ep-...) as the model, or an API key ({key})": (
        "访问密钥要和项目一起才能使用模型 ID {model}：请给出 project（--project），或以推理接入点（ep-...）为模型，"
        "或使用 API Key（{key}）"
    ),
    "{name} would carry the key and the prompts unencrypted: write https://, or say --insecure if that network is "
    "yours": "{name} 会以明文传输 Key 和提示词：请写 https://；若是您自己的网络，可加 --insecure",
    'lane = "{lane}" (--lane {again}) does not go with {other_text}; leave one of them out': (
        'lane = "{lane}"（--lane {again}）不能与 {other_text} 同时使用；请去掉其中一个'
    ),
    "{name} has an address for each customer: give it too, base_url = https://NAME.{host}/...": (
        "{name} 的地址因客户而异：请一并给出 base_url = https://NAME.{host}/..."
    ),
    "{name} = {value} is not a way to encrypt: the only value is {right}": (
        "{name} = {value} 不是加密方式：只能是 {right}"
    ),
    "{name} is set and {other} is not: an access key works only with its secret": (
        "已设置 {name} 但没有 {other}：访问密钥需要两者同时设置"
    ),
    "{label} has a user name or password in it: a key belongs into {first} or {second}": (
        "{label} 中带有用户名或密码：Key 应放在 {first} 或 {second} 中"
    ),
    "{label} has a # in it: a base URL ends before that, {url}": "{label} 中有 #：接口地址到 # 之前为止，{url}",
    "{label} = {url} is not a URL: {reason}": "{label} = {url} 不是网址：{reason}",
    '{label} has a key in it: write [query] {name} = "env:NAME" into the job file instead': (
        '{label} 中带有 Key：请改在任务文件中写 [query] {name} = "env:NAME"'
    ),
    "{file} holds no certificate: it is a text that begins with -----BEGIN CERTIFICATE-----": (
        "{file} 不是证书：证书是以 -----BEGIN CERTIFICATE----- 开头的文本"
    ),
    "{name} = {value} is set, and the job is not encrypted: say encrypt = true (--encrypt), or unset the variable for "
    "this job": "已设置 {name} = {value}，但任务未加密：请写 encrypt = true（--encrypt），或为该任务去掉此变量",
    "--certificate {file} is for encryption: give --encrypt as well": (
        "--certificate {file} 用于加密：请同时加 --encrypt"
    ),
    'certificate = "{file}" is for encryption: write encrypt = true as well': (
        'certificate = "{file}" 用于加密：请同时写 encrypt = true'
    ),
    "{file} cannot be read: {reason_text}": "无法读取 {file}：{reason_text}",
    "{name} is not UTF-8: rename the file, or write the word anew": "{name} 不是 UTF-8：请给文件改名，或重新输入",
    "{text} is not a length of time, such as 90, 30m or 12h": "{text} 不是时长，时长应如 90、30m 或 12h",
    # Commands.
    "check reads the input twice: save standard input to a file first": "check 要读两遍输入：请先把标准输入存为文件",
    "estimate reads the input twice: save standard input to a file first": (
        "estimate 要读两遍输入：请先把标准输入存为文件"
    ),
    "--dry-run reads the input twice: save standard input to a file first": (
        "--dry-run 要读两遍输入：请先把标准输入存为文件"
    ),
    "--limit is for a run on one machine. Leave it out.": "--limit 只用于单机运行。请去掉。",
    "--lane {lane} is for a run on one machine, since the provider does the work.": (
        "--lane {lane} 只用于单机运行，因为实际工作由服务商完成。"
    ),
    "{run_dir} was begun with other parameters: {changes}.": "{run_dir} 是用其他参数开始的：{changes}。",
    "{run_dir} was planned for other input files. Give another directory with -o.": (
        "{run_dir} 是为其他输入文件规划的。请用 -o 指定另一个目录。"
    ),
    "{run_dir} was planned with other parameters: {changes}. Give another directory with -o.": (
        "{run_dir} 是用其他参数规划的：{changes}。请用 -o 指定另一个目录。"
    ),
    "Say with -o RUN_DIR where the results of a remote input go.": "请用 -o RUN_DIR 指明远程输入的结果放在哪里。",
    "{name} is not set. It is in {run_dir}/shards/coordinator.json of the coordinator.": (
        "没有设置 {name}。它在协调进程的 {run_dir}/shards/coordinator.json 中。"
    ),
    "--index {index} is beyond the {shards} of {run_dir}.": "--index {index} 超出 {run_dir} 的 {shards}。",
    "--csv goes neither with --json nor with --compare: choose one": "--csv 不能与 --json 或 --compare 同用：请选一个",
    "--bill goes by endpoint or key and day; it takes neither --by nor --compare": (
        "--bill 按接入点或 Key 以及日期核对，不能与 --by 或 --compare 同用"
    ),
    "--key says which key on a bill is yours: give the bill too, with --bill FILE.csv": (
        "--key 指明账单上哪个 Key 是您的：请同时用 --bill FILE.csv 给出账单"
    ),
    "--prices changes nothing without --reprice: a run keeps the prices that it was done at": (
        "没有 --reprice 时 --prices 不起作用：运行保留其执行时的价格"
    ),
    "no row of the sample succeeded; `arkbatch status {run_dir}` tells why": (
        "抽样中没有一行成功；用 `arkbatch status {run_dir}` 查看原因"
    ),
    "the sample could not be sent: {reason_text}. {advice_text}": "无法发送抽样：{reason_text}。{advice_text}",
    "{folder} already holds {names}, so nothing was written: choose another directory": (
        "{folder} 中已有 {names}，因此没有写入：请换一个目录"
    ),
    "{file} cannot be written: {reason}": "无法写入 {file}：{reason}",
    "there is no address to notify: give --notify URL or --notify-command, or set ARKBATCH_NOTIFY": (
        "没有通知地址：请用 --notify URL 或 --notify-command 指定，或设置 ARKBATCH_NOTIFY"
    ),
    "{model} is not in the price book; `arkbatch prices` lists what is. Give its price with --prices FILE, as "
    "[[model]] with family, currency and price.online = {{ input = ..., output = ... }}": (
        "价目表中没有 {model}；用 `arkbatch prices` 查看已有的价格。请用 --prices FILE 给出其价格：[[model]] 下写 "
        "family、currency 和 price.online = {{ input = ..., output = ... }}"
    ),
    "{name} is not a known provider; known are {names}": "{name} 不是已知的服务商；已知的有 {names}",
    "--row {text} is not a list of line numbers, such as 17,42.": "--row {text} 不是行号列表，行号列表应如 17,42。",
    "--engine ray does not take {options}. Leave it out, or run without --engine ray.": (
        "--engine ray 不支持 {options}。请去掉它，或不用 --engine ray。"
    ),
    "Give --index I, or start the coordinator on another terminal: arkbatch shard serve {run_dir}": (
        "请给出 --index I，或在另一个终端启动协调进程：arkbatch shard serve {run_dir}"
    ),
    "--access-key {text}: expected ID:SECRET": "--access-key {text}：应为 ID:SECRET",
    "{host} can be reached from other machines; add --expose if that is meant": (
        "其他机器可以访问 {host}；若有意如此，请加 --expose"
    ),
    "--fault {text}: expected NAME=RATE, such as overloaded=0.05": (
        "--fault {text}：应为 NAME=RATE，例如 overloaded=0.05"
    ),
    "{file} needs: pip install 'arkbatch[{extra}]'": "{file} 需要：pip install 'arkbatch[{extra}]'",
    "{option} needs one more library; install it with: {command}": "{option} 还需要一个库，请安装：{command}",
    "--engine ray needs: {command}": "--engine ray 需要：{command}",
    "Cannot listen on {host} port {port}: {reason}.": "无法监听 {host} 的端口 {port}：{reason}。",
    "Port {port} is taken; choose another, or 0 for any free one.": "端口 {port} 已被占用；请换一个，或用 0 自动选择。",
    # Answers and other outputs.
    "--columns {name} is not one of {names}": "--columns {name} 不在可选的列之中：{names}",
    "--with {name} is not one of {names}": "--with {name} 不在可选项之中：{names}",
    "--schema {file} is not a JSON schema: it holds no object": "--schema {file} 不是 JSON Schema：其中没有对象",
    "--schema {file} cannot be read as JSON: {reason}": "--schema {file} 无法作为 JSON 读取：{reason}",
    "A sheet holds at most {most} rows below its header: write .csv or .parquet": (
        "一张工作表在表头之下最多 {most} 行：请写成 .csv 或 .parquet"
    ),
    "{file} ends in none of {endings}: the ending says how the answers are written": (
        "{file} 的后缀不在 {endings} 之中：后缀决定回答的写出格式"
    ),
    "{file} does not end in {ending}: vectors are written in that format": (
        "{file} 的后缀不是 {ending}：向量以该格式写出"
    ),
    "{run_dir} has no vectors: none of its rows has succeeded, or they are no embeddings": (
        "{run_dir} 没有向量：没有成功的行，或不是向量任务"
    ),
    "the vector of row {row} has {size} numbers and those before it {other}, which makes no array; "
    "arkbatch.iter_vectors gives them one by one": (
        "第 {row} 行的向量有 {size} 个数，而之前的有 {other} 个，无法组成数组；可用 arkbatch.iter_vectors 逐个读取"
    ),
    "{file}: the record of row {row} holds no proper vector: {reason_text}": (
        "{file}：第 {row} 行的记录中没有正确的向量：{reason_text}"
    ),
    "the vectors do not say to which input each belongs": "无法得知各向量属于哪个输入",
    "it is empty or torn": "为空或不完整",
    "--key wants the key's item on the bill, which begins with apikey-; never the key itself.": (
        "--key 需要账单上以 apikey- 开头的条目，而不是 Key 本身。"
    ),
    # The run directory.
    "Cannot write {file}: {reason}. Fix that and run the same command again.": (
        "无法写入 {file}：{reason}。请解决后重新运行同一命令。"
    ),
    "No space left to write {file}. What was recorded is safe: make space and run the same command again.": (
        "没有空间写入 {file}。已记录的结果是安全的：请腾出空间后重新运行同一命令。"
    ),
    "{file} holds a line at byte {place} that arkbatch did not write ({reason}). Take it out, delete ledger.bin beside "
    "it, and run the same command again.": (
        "{file} 在第 {place} 字节处有一行不是 arkbatch 写的（{reason}）。请删除该行和旁边的 ledger.bin，"
        "再运行同一命令。"
    ),
    "{file} holds a line at byte {place} that arkbatch did not write ({reason}). Take it out, delete ledger.bin beside "
    "it, and try again.": (
        "{file} 在第 {place} 字节处有一行不是 arkbatch 写的（{reason}）。请删除该行和旁边的 ledger.bin，然后重试。"
    ),
    "{file} holds a line that arkbatch did not write ({reason}). Take it out, delete ledger.bin beside it, and run the "
    "same command again.": (
        "{file} 中有一行不是 arkbatch 写的（{reason}）。请删除该行和旁边的 ledger.bin，再运行同一命令。"
    ),
    "The record of row {row} is not what arkbatch wrote. Take its line out of the run's files, delete ledger.bin "
    "beside them, and run the same command again.": (
        "第 {row} 行的记录不是 arkbatch 写的。请从运行目录的文件中删除该行，删除旁边的 ledger.bin，再运行同一命令。"
    ),
    "Row {row} has a record that failed, and another that knows nothing of it. One of the files is from another time: "
    "restore both.": "第 {row} 行有一条失败的记录，而另一条记录与之不符。其中一个文件来自其他时间：请恢复两者。",
    "Cannot read {file}: {reason}. Fix that and run the same command again.": (
        "无法读取 {file}：{reason}。请解决后重新运行同一命令。"
    ),
    "Cannot read {file}: {reason}. Check its permissions.": "无法读取 {file}：{reason}。请检查其权限。",
    "{run_dir} is a file, not a run directory. Name another with -o RUN_DIR.": (
        "{run_dir} 是文件，不是运行目录。请用 -o RUN_DIR 指定另一个。"
    ),
    "{run_dir} is not a run directory: it holds {names}. Name another with -o RUN_DIR.": (
        "{run_dir} 不是运行目录：其中有 {names}。请用 -o RUN_DIR 指定另一个。"
    ),
    "{run_dir} is not a run directory: it has no {file}.": "{run_dir} 不是运行目录：其中没有 {file}。",
    "{address} is in object storage, where this command does not work: copy the run to a disk and name the copy.": (
        "{address} 在对象存储中，该命令不能在那里使用：请把该任务复制到磁盘，再给出副本的目录。"
    ),
    "{run_dir} is not a run directory. Name the one that `run` wrote.": (
        "{run_dir} 不是运行目录。请指明 `run` 写出的目录。"
    ),
    "{run_dir} is a file, not a run directory: name the one that `arkbatch run` wrote, such as {example}.": (
        "{run_dir} 是文件，不是运行目录：请指明 `arkbatch run` 写出的目录，例如 {example}。"
    ),
    "{file} was written in format {format}, this arkbatch reads {own}. Update arkbatch.": (
        "{file} 的格式是 {format}，而本版 arkbatch 只能读 {own}。请升级 arkbatch。"
    ),
    "{file} was written in format {format}. Update arkbatch on this machine.": (
        "{file} 的格式是 {format}。请升级本机的 arkbatch。"
    ),
    "{file} is damaged ({reason}). Restore it from a backup, or delete it and run the same command again: all answers "
    "are in {results} and are kept.": (
        "{file} 已损坏（{reason}）。请从备份恢复，或删除后重新运行同一命令：所有回答都在 {results} 中，会保留。"
    ),
    "{file} cannot be read ({reason}). Delete it and merge again.": "无法读取 {file}（{reason}）。请删除后重新合并。",
    "{file} cannot be read ({reason}). Restore it from a backup.": "无法读取 {file}（{reason}）。请从备份恢复。",
    "{file} cannot be read ({reason}). Delete it: the sessions of workers are kept.": (
        "无法读取 {file}（{reason}）。请删除它：各工作进程的会话会保留。"
    ),
    "The prices in run.json cannot be read ({reason}). Restore it from a backup.": (
        "无法读取 run.json 中的价格（{reason}）。请从备份恢复。"
    ),
    "--kind {kind} is not a kind of failure.{hint} Kinds are: {kinds}.": (
        "--kind {kind} 不是失败种类。{hint} 种类有：{kinds}。"
    ),
    "Row {row} cannot be sent so: {reason_text}. Correct --set.": (
        "第 {row} 行无法这样发送：{reason_text}。请修改 --set。"
    ),
    "--max-cost is in {currency}, and this run has cost {other} too: use --max-tokens": (
        "--max-cost 以 {currency} 计，而该运行还有 {other} 的费用：请用 --max-tokens"
    ),
    # Schema and tools.
    "{file} is no JSON Schema: it is an object in braces, as in an OpenAPI file": (
        "{file} 不是 JSON Schema：它应是花括号中的对象，如 OpenAPI 文件中那样"
    ),
    "{file} names an unknown draft, $schema = {draft}: known are {drafts}": (
        "{file} 使用了未知的草案，$schema = {draft}：已知的有 {drafts}"
    ),
    "{file} cannot be read: {reason} (looked at {path})": "无法读取 {file}：{reason}（查找位置：{path}）",
    "{file} is no JSON: {reason}": "{file} 不是 JSON：{reason}",
    "{file} is no JSON Schema: {reason} (at {place})": "{file} 不是 JSON Schema：{reason}（位于 {place}）",
    "{file} is nested too deeply": "{file} 嵌套过深",
    "{file} refers to {name}, which is not in it; nothing is fetched from a network: put what it means under $defs": (
        "{file} 引用了其中没有的 {name}；不会从网络获取内容：请把它的定义放在 $defs 下"
    ),
    "{file} has no function whose name begins without an underscore": "{file} 中没有名称不以下划线开头的函数",
    "{file}: {name} cannot be the name of a tool: {most} letters, digits and _ at most": (
        "{file}：{name} 不能作为工具名：最多 {most} 个字母、数字和 _"
    ),
    "{file}: {name} takes {parameters}, and a model gives each argument by its name": (
        "{file}：{name} 使用 {parameters}，而模型按名称给出每个参数"
    ),
    "{file}: the parameters of {name} cannot be read: {reason}": "{file}：无法读取 {name} 的参数：{reason}",
    "{file}: a parameter of {name} has a type that JSON has not: {reason}": (
        "{file}：{name} 的某个参数类型在 JSON 中不存在：{reason}"
    ),
    # A running session and its orders.
    "This session sends batch files, and the provider decides how fast they are worked off. Drain it, and start it "
    "again with other options; arkbatch cancel takes batches back.": (
        "该会话发送批量文件，处理速度由服务商决定。请先 drain，再用其他选项重新启动；arkbatch cancel 可撤回批量任务。"
    ),
    "The session is only beginning. Try again in a moment.": "会话刚刚开始。请稍后再试。",
    "max_cost: this run began without a budget. Drain it, and run it again with --max-cost.": (
        "max_cost：该运行开始时没有预算。请先 drain，再加上 --max-cost 重新运行。"
    ),
    "max_cost: this session began without a budget, so what its calls may cost is not known. Drain it, and run the "
    "same command again with --max-cost.": (
        "max_cost：该会话开始时没有预算，无法得知其请求的费用。请先 drain，再加上 --max-cost 重新运行同一命令。"
    ),
    "The run is ending: it only waits for the calls in flight.": "运行正在结束：只等待进行中的请求。",
    "The session is ending: it only waits for the calls in flight.": "会话正在结束：只等待进行中的请求。",
    "--reason has {length} characters; it may have {most}.": "--reason 有 {length} 个字符；最多 {most} 个。",
    "set what? For example: set rpm=600 concurrency=40": "要设置什么？例如：set rpm=600 concurrency=40",
    "This speaks version {version} of the commands, the other side {other}. Update arkbatch.": (
        "本程序的命令版本是 {version}，对方是 {other}。请升级 arkbatch。"
    ),
    "{name} is not a command.{hint} Commands are: {names}.": "{name} 不是命令。{hint} 命令有：{names}。",
    "{name} cannot be set.{hint} Known are: {names}.": "无法设置 {name}。{hint} 可设置的有：{names}。",
    "{name} needs a value: {again}={example}": "{name} 需要值：{again}={example}",
    "{name} is set twice.": "{name} 设置了两次。",
    "{name}={value} is not allowed: it must be {allowed_text}.": "{name}={value} 无效：必须是{allowed_text}。",
    "This is not a command: {text}.": "这不是命令：{text}。",
    "The running process answered something else: {text}.": "运行中的进程给出了其他回答：{text}。",
    "This is not one JSON object on a line: {text}.": "这一行不是一个 JSON 对象：{text}。",
    "{name} takes nothing behind it, and there is {text}.": "{name} 后面不应有内容，却有 {text}。",
    "The process that works on {run_dir} did not answer within {seconds} s; it may be stopped or very busy. Try again, "
    "or look with: {command}": (
        "处理 {run_dir} 的进程在 {seconds} 秒内没有应答，可能已停止或很忙。请重试，或查看：{command}"
    ),
    "Too many others talk to this session. Try again in a moment.": "与该会话通信的进程过多。请稍后再试。",
    "{run_dir} takes no orders: nothing listens at {socket}.": "{run_dir} 不接受命令：没有进程监听 {socket}。",
    "Cannot talk to {socket}: {reason}.": "无法与 {socket} 通信：{reason}。",
    "arkbatch ctl will not reach this session: no socket can be made in {folder} ({reason})": (
        "arkbatch ctl 无法联系该会话：不能在 {folder} 中创建套接字（{reason}）"
    ),
    # Notifications.
    "{option} {address} is masked, as it is wherever a command is shown: give the address again": (
        "{option} {address} 已被遮盖（显示命令时都会这样）：请重新给出地址"
    ),
    "{option} {address} is not an address: it begins with https://, or names a service as in feishu://": (
        "{option} {address} 不是地址：应以 https:// 开头，或如 feishu:// 指明服务"
    ),
    "{option} {address} is not an address that Apprise knows: see its list of services": (
        "{option} {address} 不是 Apprise 支持的地址：请查看其服务列表"
    ),
    "{option} {address} would carry messages unencrypted: choose its secure form, or say --insecure": (
        "{option} {address} 会以明文发送消息：请改用安全的形式，或加 --insecure"
    ),
    "{option} {address} needs Apprise: {command} (an https:// address takes a JSON message without it)": (
        "{option} {address} 需要 Apprise：{command}（https:// 地址无需它即可接收 JSON 消息）"
    ),
    "the program that is to be notified cannot be run: {name} is not there": "无法运行要通知的程序：{name} 不存在",
    "it answered {status}": "它回答了 {status}",
    "it ended with {code}": "它以 {code} 结束",
    "it cannot be run: {reason}": "无法运行它：{reason}",
    "it did not end within {seconds} s and was killed": "它在 {seconds} 秒内没有结束，已被终止",
}
