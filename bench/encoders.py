"""Training and inference images/s of every network, with its parameters and its arithmetic.

    python bench/encoders.py [--json] [--seconds 8] [NETWORK ...]

One thread, 224x224 grey (1024x1024 for the LeNets of that size), float32 weights with passes in the
machine's number format, channels last, a process for each network. Training is forward, backward
and an Adam step on 16 images (4 at 1024 pixels); inference is the forward pass in eval mode. The
median step is taken, in *processor seconds* of this process, so that other work on the machine
shows less; two cores come near twice the rate. GFLOPs are two per multiplication, forward, of one
image.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from hurdles.models import ModelSpec, architectures, build
from hurdles.training.machine import Machine, environment, in_words, this_machine

LABELS = ("COVID-19", "Normal", "Viral Pneumonia")


def measured(architecture: str, seconds: float, machine: Machine) -> dict[str, float]:
    """Return the row of one network."""
    big = architecture.startswith("lenet")
    size, batch = (1024, 4) if big else (224, 16)
    network = build(ModelSpec(architecture, LABELS, size=size), seed=0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 1, size, size))
    row = {
        "size": size,
        "million_parameters": sum(p.numel() for p in network.parameters()) / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
    }
    network = network.to(machine.device, memory_format=torch.channels_last)
    images = torch.rand(batch, 1, size, size, device=machine.device)
    images = images.contiguous(memory_format=torch.channels_last)
    truth = torch.arange(batch, device=machine.device) % len(LABELS)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)

    def infer() -> None:
        with torch.inference_mode(), machine.mixed():
            network(images)

    def train() -> None:
        with machine.mixed():
            logits = network(images)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), truth).backward()
        optimiser.step()

    row["inference"] = batch / median_seconds(infer, seconds)
    network.train()
    row["training"] = batch / median_seconds(train, seconds)
    return row


def in_a_process_of_its_own(architecture: str, seconds: float) -> dict[str, float]:
    """Return the row of one network, whose memory is given back when it is done."""
    command = [sys.executable, __file__, "--one", "--seconds", str(seconds), architecture]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, float] = json.loads(done.stdout)
    return row


def median_seconds(step: Callable[[], None], seconds: float) -> float:
    """Return the median processor time of a step, of at least two after one to warm up."""
    step()
    began, taken = time.perf_counter(), []
    while len(taken) < 2 or time.perf_counter() - began < seconds:
        before = time.process_time()
        step()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def main() -> None:
    """Time each network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=architectures())
    parser.add_argument("--seconds", type=float, default=8, help="for each of the two rates")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    machine = this_machine()
    if machine.device.type != "cpu":
        parser.error("this table is of processor time; hide the GPU (CUDA_VISIBLE_DEVICES=)")
    if arguments.one:
        print(json.dumps(measured(arguments.networks[0], arguments.seconds, machine)))
        return
    busy = os.getloadavg()[0]
    rows = {}
    if not arguments.json:
        print("images per processor second, one thread     training  inference  Mparam   GFLOP  px")
    for name in arguments.networks:
        row = rows[name] = in_a_process_of_its_own(name, arguments.seconds)
        if not arguments.json:
            print(
                f"{name:40}{row['training']:12.1f}{row['inference']:11.1f}"
                f"{row['million_parameters']:8.2f}{row['gflops']:8.2f}{row['size']:5d}",
                flush=True,
            )
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"load of the machine at the start: {busy:.1f} of {os.cpu_count()} cores")
    print(in_words(environment(machine)))


if __name__ == "__main__":
    main()
