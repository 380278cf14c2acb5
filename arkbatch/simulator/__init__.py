"""An Ark look-alike to try things on without a key, and to test against.

How a call is handled, and who knows what:

    server    the application and its routes; `service` stands behind them, `call` is one request on its way
    admission the way in: the order of the checks, from an HTTP request to what was asked
    delivery  the way out: an answer, a refusal or a fault, written to the connection
    endpoints what each path does, as a table
    incoming  JSON and model of a request
    keys      who may call, also with a temporary key; `control` hands those out to who signs
    settings  what can be chosen, and which values make sense
    wire      ids, headers and the shape of an error body
    refusals  the documented errors, with their words
    checks    which chat bodies are refused; `inputs` knows it of the other endpoints
    limits    sliding windows of requests and tokens, and calls in flight; `batch` has the line of the batch lane
    faults    the fault menu, and which call gets which fault; `breakage` has those of the connection
    answers   what a chat model says; `phrases` has the words, `shapes` fits JSON to a schema, `toolcalls` calls
    chunks    an answer cut for a stream; `streaming` puts it on the wire
    sealed    the service's side of encryption
    vectors   what an embedding model says
    tokens    how long a text is, `tokenizer` where it is cut; `models` what the name of a model tells
    chance    luck that follows from the request alone
    counters  what happened, for tests and for the summary line

Everything that the public documentation leaves open is our assumption; `README.md` beside this file lists them all.
"""
