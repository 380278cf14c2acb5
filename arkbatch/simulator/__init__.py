"""An Ark look-alike to try things on without a key, and to test against.

How a call is handled, and who knows what:

    server    the application, and the order of the steps
    endpoints what each path does, as a table
    incoming  key, JSON and model of a request
    settings  what can be chosen, and which values make sense
    wire      ids, headers and the shape of an error body
    refusals  the documented errors, with their words
    checks    which request bodies are refused
    limits    sliding windows of requests and tokens, and calls in flight
    faults    the fault menu, and which call gets which fault; `breakage` has those of the connection
    answers   what a chat model says; `phrases` has the words, `shapes` fits JSON to a schema
    vectors   what an embedding model says
    tokens    how long a text is; `models` what the name of a model tells
    chance    luck that follows from the request alone
    counters  what happened, for tests and for the summary line

Everything that the public documentation leaves open is our assumption; `README.md` beside this file lists them all.
"""
