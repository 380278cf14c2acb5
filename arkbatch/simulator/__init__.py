"""A simulated Ark service, to try arkbatch without a key and to test against.

The modules, in the order in which a call passes them:

    server              the application and its routes
    service             one call from begin to end; `call` holds what is known of it
    admission           the checks of a call, in their order
    keys, control       API keys, also temporary ones, and the control plane that issues them
    limits, batch       rate limits of online calls, and the queue of the batch lane
    checks, inputs      which request bodies are refused
    faults              the menu of faults, and which call gets which
    endpoints           what each path does, as a table
    answers, responses  the answers of chat and of the Responses API
    vectors, tokens     embeddings, and the tokens of a text
    phrases, shapes, toolcalls   the words, JSON values and tool calls of an answer
    models              what the name of a model says
    delivery            writes an answer, a refusal or a fault to the connection
    chunks, streaming   cuts an answer into chunks, and streams them
    broken_connections  connections that break
    sealed              the service's side of encryption
    wire, refusals      ids, headers and error bodies; the documented errors
    seeded_random       random numbers that depend on the request alone
    settings, counters  what can be configured, and what is counted
    batch_routes, batch_store    files and batches

Where the public documentation says nothing, an assumption is made; `README.md` in this folder lists them all.
"""
