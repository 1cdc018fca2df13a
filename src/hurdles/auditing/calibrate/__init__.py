"""The audit audited: how often hurdles cry wolf, and how often they see one, on known cohorts.

==============  ===================================================================
`trials`        what is tried, and how often; a trial is known by its name alone
`pool`          phantoms rendered once in every state, from which cohorts are drawn
`real`          the same from real radiographs of one class
`cohorts`       a cohort as hurdles see it, with a shortcut of known strength or none
`faults`        what is planted for the hurdles that look at tables and files
`networks`      small networks, trained on a cohort in seconds
`worker`        one trial from its name to its findings
`journal`       the file of finished trials, to which lines are only ever added
`limits`        from cohorts without a shortcut to limits
`table`         false alarms and power with intervals
`figure`        how the share of detected cohorts grows with the shortcut
`page`          what a reader is told
`calibration`   all of it in order, on several processes, resumable
==============  ===================================================================
"""
