"""The choice, pure: no clock, no I/O, no globals; every random draw is passed in.

`decision.decide` reads top to bottom as the design's steps: eligible -> decision point -> score -> money ->
utility -> distribution -> sample. `episode` folds an episode's records into what the next turn needs.
"""
