"""Launch test: from `ray up` to a completed pretraining run on simulated hosts whose network and power fail.

    sudo python benchmarks/launch.py OUT     # writes benchmarks/launch.json

Three hosts (``hosts.py``: namespaces with their own address, processes, home and sshd) are a head and two workers.
``cluster/onprem.yaml`` is filled in with their addresses and not changed otherwise. The commands are a user's:
``ray up``, ``ray dashboard``, ``vicc-ray submit``, ``ray down``. During training

  1. the first worker loses its network,     2. and is reconnected,
  3. the second worker loses its power,      4. and is restarted.

Checked: the run continues with the remaining worker, takes the other back, and completes. Its losses equal those of an
undisturbed run on one machine within 1e-4. The job server refuses requests from outside and requests without the token.
No process of Ray is left on any host within minutes after ``ray down`` (workers detect the loss of their head). On
machines without namespaces the script says so and exits with code 3.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hosts import SHARED, Host, hosts, missing
from measured import began, machine, vicc_ray, wait_until

from vicc_ray.runs.run_dir import RunDir
from vicc_ray.utils.jsonl import read_lines

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
EXIT_UNSUPPORTED = 3
JOBS = "http://127.0.0.1:8265"
TIMEOUT_S = 400.0
SHUTDOWN_TIMEOUT_S = 180.0
SETTINGS = [
    *("prepare.short_side=32", "prepare.videos_per_shard=4", "clip.frames=8", "clip.frame_stride=1", "clip.size=32"),
    *("model.embed_dim=16", "method.num_prototypes=4", "train.global_batch_size=8", "train.checkpoint_every_steps=20"),
    *("schedule.flow_epochs=0", "schedule.cycles=0", "train.validate_every_epochs=0"),
    # Not AdamW: it divides by gradients near zero, which amplifies rounding differences between worker counts. They
    # also grow with the learning rate: 6e-4 after 3,000 steps at 0.002.
    *("optimizer.name=lars", "optimizer.learning_rate=0.0003", "optimizer.min_lr=0.0001"),
]


def main() -> int:
    """Start hosts, cluster and run, disturb the run, and check the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=1000, help="of two steps each; enough to outlast the events")
    options = parser.parse_args()
    if lacks := missing():
        print(f"not run: this machine lacks {', '.join(lacks)}", file=sys.stderr)
        return EXIT_UNSUPPORTED
    out = options.out.resolve()
    for name in ("shared/run", "reference", "head", "one", "two"):
        shutil.rmtree(out / name, ignore_errors=True)
    epochs = [f"schedule.rgb_epochs={options.epochs}", f"schedule.stage1_cosine_epochs={options.epochs}"]
    settings = [*SETTINGS, *epochs]
    prepare(out, settings)
    with hosts(out, ["head", "one", "two"]) as machines:
        result = Launch(out, machines, settings).run()
    reference = losses(pretrain_here(out, settings))
    result["largest_difference"] = largest_difference(losses(out / "shared" / "run"), reference)
    result["steps"] = len(reference)
    result["workers_of_beginnings"] = RunDir(out / "shared" / "run").restarts.workers()
    RESULT.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    print(RESULT.read_text())
    return 0 if result["largest_difference"] <= 1e-4 else 1


class Launch:
    """Life of one cluster, from `ray up` to `ray down`."""

    def __init__(self, out: Path, machines: dict[str, Host], settings: list[str]) -> None:
        self.out, self.machines, self.settings = out, machines, settings
        self.file, self.run_folder = out / "onprem.yaml", RunDir(out / "shared" / "run")
        self.start = time.monotonic()
        self.timeline: list[tuple[float, str]] = []
        (out / "client" / ".ray").mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **{"HOME": str(out / "client"), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(self) -> dict[str, Any]:
        """Start the cluster, train, stop the cluster, and return the timeline."""
        token = self.out / "client" / ".ray" / "auth_token"
        token.unlink(missing_ok=True)
        self.call("ray", "get-auth-token", "--generate")
        token.chmod(0o600)
        self.fill_in()
        self.call("ray", "up", "-y", "--no-config-cache", self.file)
        self.note("ray up has returned")
        try:
            with self.tunnel():
                self.check_refused()
                self.train()
        finally:
            self.call("ray", "down", "-y", self.file)
        self.note("ray down has returned")
        self.wait_until_ray_is_gone()
        return {"timeline": [{"s": round(seconds, 1), "what": what} for seconds, what in self.timeline]}

    def fill_in(self) -> None:
        """Fill in the launch file: addresses, user and key; no mount, since the shared folder is already mounted."""
        content = yaml.safe_load((ROOT / "cluster" / "onprem.yaml").read_text())
        head, *workers = self.machines.values()
        content["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address for worker in workers]}
        content["auth"] |= {"ssh_user": "root", "ssh_private_key": str(self.out / "keys" / "client")}
        mount = content["metadata"]["fill_in"]["mount"]
        content["setup_commands"] = ["true" if line == mount else line for line in content["setup_commands"]]
        content["file_mounts"] = {"~/dist": str(self.out / "dist"), "~/.ray/auth_token": "~/.ray/auth_token"}
        self.file.write_text(yaml.safe_dump(content))

    def train(self) -> None:
        """Submit the job, disturb it, and wait for its end."""
        one, two = self.machines["one"], self.machines["two"]
        changes = sets([*self.settings, "train.num_workers={min: 1, max: 2}", "train.elastic_resize_interval_s=5"])
        command = [
            "vicc-ray",
            "submit",
            "demo",
            "--dashboard-address",
            JOBS,
            "--store",
            f"{SHARED}/store",
            "--out",
            f"{SHARED}/run",
        ]
        with subprocess.Popen([*command, *changes], env=self.environment) as job, terminated(job):
            self.until("both workers train", lambda: began(self.run_folder, 2), job)
            one.disconnect()
            self.note("first worker disconnected")
            self.until("trains with one worker", lambda: began(self.run_folder, 2, 1), job)
            one.reconnect()
            self.note("first worker reconnected")
            self.until("both workers train", lambda: began(self.run_folder, 2, 1, 2), job)
            two.power_off()
            self.note("second worker powered off")
            self.until("trains with one worker", lambda: began(self.run_folder, 2, 1), job)
            two.start()
            self.note("second worker restarted")
            self.until("both workers train", lambda: began(self.run_folder, 2, 1, 2), job)
            if job.wait() != 0:
                raise RuntimeError(f"vicc-ray submit ended with {job.returncode}")
        self.note("the run has ended")

    def until(self, what: str, condition: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
        """Wait for a condition and note it in the timeline.

        Raises:
            RuntimeError: the timeout passed, or the job exited first.
        """
        wait_until(what, condition, job, TIMEOUT_S)
        self.note(what)

    def wait_until_ray_is_gone(self) -> None:
        """Wait until no process of Ray is left on any host.

        Raises:
            RuntimeError: one is left after the timeout.
        """
        end = time.monotonic() + SHUTDOWN_TIMEOUT_S
        while left := self.processes_of_ray():
            if time.monotonic() > end:
                raise RuntimeError("processes of Ray long after ray down:\n" + "\n".join(left))
            time.sleep(1.0)
        self.note("no process of Ray is left on any host")

    def processes_of_ray(self) -> list[str]:
        """``host: command line`` of each process of Ray."""
        machines = self.machines.values()
        return [f"{host.name}: {line}" for host in machines for line in host.processes() if is_ray(line)]

    def check_refused(self) -> None:
        """Check that the job server refuses requests from outside and requests without the token.

        Raises:
            RuntimeError: it answers one.
        """
        for url, expected in ((JOBS, "HTTPError"), (f"http://{self.machines['head'].address}:8265", "URLError")):
            try:
                urllib.request.urlopen(f"{url}/api/jobs/", timeout=60).close()
                outcome = "an answer"
            except urllib.error.URLError as error:  # HTTPError is a subclass
                outcome = type(error).__name__
            if outcome != expected:
                raise RuntimeError(f"{url} without a token: {outcome}, expected {expected}")
        self.note("refused without the token, and from outside")

    @contextmanager
    def tunnel(self) -> Iterator[None]:
        """Run ``ray dashboard`` while the block runs."""
        with subprocess.Popen(["ray", "dashboard", str(self.file)], env=self.environment) as process:
            try:
                end = time.monotonic() + TIMEOUT_S
                while not answers(JOBS):
                    if process.poll() is not None or time.monotonic() > end:
                        raise RuntimeError("ray dashboard: no tunnel")
                    time.sleep(0.5)
                yield
            finally:
                process.terminate()

    def call(self, *command: Any) -> None:
        """Run a command as the user."""
        subprocess.run([str(part) for part in command], env=self.environment, check=True)

    def note(self, what: str) -> None:
        """Add an entry to the timeline."""
        self.timeline.append((time.monotonic() - self.start, what))
        print(f"{self.timeline[-1][0]:7.1f} s  {what}", flush=True)


@contextmanager
def terminated(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Terminate the process at the end of the block."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()


def sets(settings: list[str]) -> list[str]:
    """Command-line arguments that override settings."""
    return [part for change in settings for part in ("--set", change)]


def prepare(out: Path, settings: list[str]) -> None:
    """Write videos, store, wheel, and an install script that layers an environment over this machine's."""
    if not (out / "shared" / "store" / "store.json").exists():
        vicc_ray("make-videos", out / "videos", "--classes", 2, "--train", 8, "--test", 2, "--quiet")
        vicc_ray(
            "prepare",
            "demo",
            "--videos",
            out / "videos",
            "--store",
            out / "shared" / "store",
            "--quiet",
            *sets(settings),
        )
    shutil.rmtree(out / "dist", ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out / "dist")], cwd=ROOT, check=True
    )
    site = next(path for path in sys.path if path.endswith("site-packages"))
    # The lines that put ray on PATH come from the real script; without them `ray down` leaves the head running.
    _, path_lines = (ROOT / "cluster" / "node" / "install.sh").read_text().split("\nline=")
    (out / "dist" / "install.sh").write_text(
        f"""set -euo pipefail
{sys.executable} -m venv --without-pip --clear ~/vicc-ray
python=~/vicc-ray/bin/python
packages=$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
$python -m zipfile -e ~/dist/vicc_ray-*.whl "$packages"
echo {site} > "$packages/installed.pth"
for tool in ray:ray.scripts.scripts vicc-ray:vicc_ray.__main__; do
  script=~/vicc-ray/bin/${{tool%%:*}}
  printf '#!%s\\nimport sys\\nfrom %s import main\\nsys.exit(main())\\n' "$python" "${{tool#*:}}" > "$script"
  chmod +x "$script"
done
venv=$HOME/vicc-ray
line={path_lines}"""
    )


def pretrain_here(out: Path, settings: list[str]) -> Path:
    """Reference run without disturbance, with one worker."""
    run = out / "reference"
    vicc_ray("pretrain", "demo", "--store", out / "shared" / "store", "--run", run, "--quiet", *sets(settings))
    return run


def losses(run: Path) -> list[float]:
    """Loss of each step, in order.

    Raises:
        RuntimeError: a step is missing or repeated.
    """
    lines = read_lines(RunDir(run).metrics_file)
    if [line["step"] for line in lines] != list(range(1, len(lines) + 1)):
        raise RuntimeError(f"{run}: steps are missing or repeated")
    return [line["loss"] for line in lines]


def largest_difference(losses: list[float], reference: list[float]) -> float:
    """Largest relative difference; infinite if the lengths differ."""
    if len(losses) != len(reference):
        return float("inf")
    return max(abs(a - b) / abs(b) for a, b in zip(losses, reference, strict=True))


def answers(url: str) -> bool:
    """Whether a server answers, with any status."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def is_ray(line: str) -> bool:
    """Whether a command line is one of Ray's processes."""
    return any(word in line for word in ("raylet", "gcs_server", "ray::", "ray/dashboard", "ray/_private"))


if __name__ == "__main__":
    sys.exit(main())
