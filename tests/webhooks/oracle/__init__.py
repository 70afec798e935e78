"""The oracle of the webhooks: what senders were told, held against what the database holds.

`law` and `books` are pure: they judge. Everything else makes something to be judged: a `plan` of
what happens at the providers, `senders` that deliver it as real ones do, `processes` on one
Postgres, and `kills` that hit them at work, all driven by `chaos`. `planted` puts a bug into a
process, to prove that the oracle can fail.
"""
