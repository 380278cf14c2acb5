"""`arkbatch merge`: the shards of a run become one run directory."""

import click


@click.command(short_help="Make one run directory of the shards of a run.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line.")
def command(run_dir: str, *, as_json: bool) -> int:
    """Bring results.jsonl, failures.jsonl and usage.json up to date with the shards, in input order.

    It may be done at any time, also while workers are at work. Done again it writes the same bytes.

    \b
    Example:
      arkbatch merge nightly.run
    """
    import msgspec

    from arkbatch.cli.cluster_bucket import merge_run
    from arkbatch.core.text import count_text
    from arkbatch.core.usage import total_tokens

    merged = merge_run(run_dir)
    if as_json:
        click.echo(msgspec.json.encode(merged).decode())
        return 0
    click.echo(
        f"{merged.done:,} done, {merged.failed:,} failed, {merged.left:,} left; "
        f"{merged.finished} of {count_text(merged.shards, 'shard')} finished."
    )
    if merged.doubled_rows:
        billed, delivered = total_tokens([merged.billed]), total_tokens([merged.delivered])
        click.echo(
            f"{count_text(merged.doubled_rows, 'row')} billed more than once: "
            f"{billed:,} tokens billed, {delivered:,} delivered."
        )
    return 0
