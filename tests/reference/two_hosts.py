"""Two hosts on one machine: network namespaces of Linux, joined by a virtual cable that carries 1 Gbit/s each way.

Files are shared, as on two machines with one file system, and so are processors; host names and networks are not. Needs
root and iproute2 (Debian: apt-get install iproute2).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ADDRESSES = ("10.213.77.1", "10.213.77.2")
ROOT = Path(__file__).resolve().parents[2]

AGENT = """#!/bin/sh
# In the place of ssh, for mpiexec: HOST COMMAND ...
case $1 in {first}) name={names[0]} ;; *) name={names[1]} ;; esac
shift
exec ip netns exec $name unshare --uts sh -c "hostname $name; $*"
"""


class NoHosts(Exception):
    """This machine refuses namespaces; the message says what it said."""


class TwoHosts:
    """A context in which both are there.

    Parameters
    ----------
    folder : Path
        For a script.
    mbit : int
        What the cable carries a second, each way.
    """

    def __init__(self, folder: Path, mbit: int = 1000) -> None:
        self.names = tuple(f"simclr{os.getpid()}-{i}" for i in (1, 2))
        self.mbit, self._agent = mbit, folder / "agent.sh"

    def __enter__(self) -> TwoHosts:
        if os.geteuid() != 0:
            raise NoHosts("two hosts are network namespaces, which only root may make")
        missing = [tool for tool in ("ip", "tc", "unshare") if shutil.which(tool) is None]
        if missing:
            raise NoHosts(f"two hosts need {' and '.join(missing)}: apt-get install iproute2")
        first, second = self.names
        try:
            for name in self.names:
                _do("ip", "netns", "add", name)
            _do(*f"ip link add cable netns {first} type veth peer name cable netns {second}".split())
            for name, address in zip(self.names, ADDRESSES, strict=True):
                _do(*f"ip -n {name} address add {address}/24 dev cable".split())
                _do(*f"ip -n {name} link set lo up".split())
                _do(*f"ip -n {name} link set cable up".split())
                shape = f"rate {self.mbit}mbit burst 256kb latency 50ms"
                _do(*f"tc -n {name} qdisc add dev cable root tbf {shape}".split())
        except BaseException:
            self.__exit__()
            raise
        self._agent.write_text(AGENT.format(first=ADDRESSES[0], names=self.names))
        self._agent.chmod(0o755)
        return self

    def __exit__(self, *ignored: object) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def start(self, host: int, words: Sequence[str], **more: Any) -> subprocess.Popen[str]:
        """A command on host 0 or 1; its output is one text."""
        name = self.names[host]
        inside = ["unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh", *words]
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT / 'tests'}", **more.pop("env", {})}
        text = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(["ip", "netns", "exec", name, *inside], env=env, **(text | more))

    def mpiexec(self, mpiexec: str, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Open MPI's, on the first host: `python -m mpi4py WORDS`, a rank on each."""
        env = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        hosts = ["--prtemca", "plm_ssh_agent", str(self._agent), "--host", ",".join(ADDRESSES)]
        hosts += ["--bind-to", "none"]  # else both hosts take the same processor
        exported = ["-x", "PYTHONPATH", "-x", "PATH"]
        command = [mpiexec, *hosts, *exported, "-n", "2", sys.executable, "-m", "mpi4py", *words]
        return self.start(0, command, env=env, **more)


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoHosts(f"{' '.join(words)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
