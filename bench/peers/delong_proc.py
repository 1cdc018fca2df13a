"""DeLong's test of two AUCs by pROC, in one R process, whose own clock is read."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from evaluating import scores

PROGRAM = """
suppressMessages(library(pROC))
table <- read.csv(commandArgs(TRUE)[1])
began <- proc.time()[["elapsed"]]
one <- roc(table$truth, table$a, levels = c(0, 1), direction = "<", quiet = TRUE)
two <- roc(table$truth, table$b, levels = c(0, 1), direction = "<", quiet = TRUE)
ci.auc(one); ci.auc(two)
roc.test(one, two, method = "delong", paired = TRUE)
cat(proc.time()[["elapsed"]] - began)
"""


def tested(images: int) -> Callable[[float], float]:
    folder = tempfile.TemporaryDirectory()
    table, program = Path(folder.name, "scores.csv"), Path(folder.name, "delong.R")
    scores(images).to_csv(table, index=False)
    program.write_text(PROGRAM, "utf-8")

    def turn(_: float) -> float:
        assert Path(folder.name).is_dir()  # it stays for as long as this function does
        command = ["Rscript", str(program), str(table)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])

    return turn
