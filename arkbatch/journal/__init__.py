"""The run directory: records, ledger, and rebase."""
