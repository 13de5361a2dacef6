"""The job side: what runs beside an experiment, and what is handed to it.

`shim` supervises one job and outlives the server. `hook` is loaded by the experiment's own interpreter.
Both use the standard library only. `environment` is the server's part: what an experiment may know.
"""
