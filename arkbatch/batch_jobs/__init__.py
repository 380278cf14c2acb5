"""Half-price batch files: rows travel in parcels to a provider and come back as records of the same run directory.

    provider_forms  how each provider deviates from OpenAI's form, as data
    cutting         which rows travel together, within the limits of a form
    wire_lines      a row as a line of a batch file, and a line of an output file as an answer
    parcel          how a parcel stands, folded from the steps that were written down
    parcel_journal  those steps on disk (`parcels.jsonl`), written before and after each action
    service         what is needed of a provider, and how its calls fail; `http_service` speaks OpenAI's form,
                    `ark_job_service` Ark's jobs, `reply_objects` reads what they say of files and batches
    output_files    the lines of a parcel's files by row, and whether a download is whole
    merging         lines of output files become records, judged as replies of online calls are
    parcel_rows     rows pulled into files, and found again when a parcel ends
    parcel_worker   what one parcel needs next: `ordering` (file, batch), `following` (how it stands), `collecting`
                    (its answers); `parcel_context` is what these share
    rebuilding      parcels found again at the provider after a loss of `parcels.jsonl`
    parcel_report   what `status` says of parcels
    batch_session   one process that works on the parcels of a run
    open_session    puts a session together
    export_files    the files alone, without a network
    collect_files   what came of them, merged into the run

`results.jsonl` and `failures.jsonl` stay the only truth about rows. `parcels.jsonl` says what is ordered elsewhere and
may be billed. A row is in at most one open parcel, and leaves it only when that parcel has ended and its
files are merged.
"""
