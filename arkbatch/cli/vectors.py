"""`arkbatch vectors`: the vectors of a run as a file for numpy."""

import click


@click.command(short_help="Write the vectors of a run as one numpy file.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("-o", "--output", metavar="FILE.npy", required=True, help="Where the array goes.")
@click.option(
    "--order", type=click.Choice(["input", "completion"]), default="input", show_default=True, help="Of rows."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON line.")
def command(run_dir: str, output: str, order: str, *, as_json: bool) -> None:
    """Write the vectors of a run's results as one array of 32-bit floats, a vector in each row.

    Beside it, FILE.npy.ids.jsonl names the row of the input that each vector belongs to: rows that failed or are not
    done yet have none. The run may still go on; what is recorded by now is written. numpy is not needed.

    \b
    Examples:
      arkbatch vectors prompts.run -o prompts.npy
      python -c "import numpy; print(numpy.load('prompts.npy', mmap_mode='r').shape)"
    """
    from arkbatch.cli.sharded_runs import merged_run

    place = merged_run(run_dir)
    import msgspec

    from arkbatch.core.text import count_text, number_text, printable_json
    from arkbatch.reports.answers.vectors import write_vectors

    written = write_vectors(place, output, "input" if order == "input" else "completion")
    if as_json:
        click.echo(printable_json(msgspec.json.encode(written)))
        return
    click.echo(
        f"{count_text(written.vectors, 'vector')} of {number_text(written.dimensions)} numbers, "
        f"from {count_text(written.rows, 'row')}:  {written.file}\nWhose they are, line by line:  {written.ids}"
    )
