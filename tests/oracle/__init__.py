"""The oracle: what clients were told, held against what the database holds.

`law` and `ledger` are pure: they judge. Everything else makes something to be judged: a world of
one Postgres and several servers (`world`), writers, clients and faults, driven by `chaos`.
`planted` puts a bug into a server, to prove that the oracle can fail.
"""
