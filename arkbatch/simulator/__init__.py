"""A simulated Ark service, to try arkbatch without a key and to test against.

The modules, in the order in which a call passes them:

    server, service                    the application and its routes, one call from begin to end
    call, admission                    what is known of a call, its checks, in their order
    keys, control_actions              API keys, also temporary ones, the control plane that issues them
    limits, batch_queue                rate limits of online calls, the queue of the batch lane
    checks, inputs                     which request bodies are refused
    faults, endpoints                  which call gets which fault, what each path does
    answers, responses                 the answers of chat and of the Responses API
    vectors, tokens                    embeddings, the tokens of a text
    phrases, schema_values, toolcalls  the words, JSON values and tool calls of an answer
    models                             what the name of a model says
    delivery, broken_connections       writes an answer, a refusal or a fault, connections that break
    dialects                           replies as other providers write them
    chunks, streaming                  cuts an answer into chunks, streams them
    encryption                         the service's side of encrypted calls
    wire, refusals                     ids, headers and error bodies, the documented errors
    seeded_random                      random numbers that depend on the request alone
    settings, counters                 what can be configured, what is counted
    batch_routes, batch_store          files and batches; `stored_batch`: what is kept of them
    batch_check, batch_answers         what is wrong with the file of a batch, the lines of its answers
    inference_jobs, object_routes      Ark's batch inference jobs, the bucket that they read and write

Where the public documentation says nothing, an assumption is made; `README.md` in this folder lists them all.
"""
