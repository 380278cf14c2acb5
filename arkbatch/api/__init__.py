"""The Python API: jobs, tables in and out, results. `arkbatch` itself gives these names."""
