"""Half-price batch files: rows go in parcels to a provider and return as records.

    provider_forms  how each provider deviates from OpenAI's form, as data
    parcel_limits   which rows travel together, within the limits of a form
    wire_lines      a row as a line of a batch file, and a line of an output file as an answer
    parcel_records  the steps of parcels as lines of `parcels.jsonl`, written before and after each action
    parcel          how a parcel stands, computed from its steps; `parcel_journal` keeps them on disk
    service         what is needed of a provider, and how its calls fail; `http_service` speaks OpenAI's form,
                    `ark_job_service` Ark's jobs, `reply_objects` reads what they say of files and batches
    output_files    the lines of a parcel's files by row, and whether a download is whole
    output_merging  lines of output files are judged as online replies are; `line_records` makes outcomes of them
    parcel_cutter   rows are pulled in order and written into files; `parcel_planner` says when and how large
    parcel_rows     the rows of a parcel, and failed rows that are given back to the run
    parcel_worker   what one parcel needs next: `parcel_submission` (file, batch), `parcel_polling` (how it stands),
                    `parcel_results` (its answers); `parcel_context` is what these share
    parcel_loop     all parcels of a session, until it ends
    journal_rebuilding  parcels found again at the provider after a loss of `parcels.jsonl`
    parcel_report   what `status` and the page say of parcels
    batch_session   one process that works on the parcels of a run; `batch_commands` obeys `arkbatch ctl`
    open_session    puts a session together
    export_files    the files alone, without a network
    collect_files   what came of them, merged into the run

`results.jsonl` and `failures.jsonl` stay the only truth about rows. `parcels.jsonl` says what is ordered elsewhere and
may be billed. A row is in at most one open parcel, and leaves it only when that parcel has ended and its
files are merged.
"""
