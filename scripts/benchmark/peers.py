"""Installs what is measured with and beside into `.tools/peers`: never a dependency of Tailrace.

Whatever cannot be had here is left out with the reason, which the report repeats.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "scripts" / "peers"
FOLDER = ROOT / ".tools" / "peers"
NCHAN = ("nginx", "libnginx-mod-nchan")


class NotInstalledError(Exception):
    """A program that cannot be had here; the message is the reason."""


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """What a command prints.

    Raises:
        NotInstalledError: it fails, or does not exist.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    except FileNotFoundError:
        raise NotInstalledError(f"there is no {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{argv[0]} was not done after 300 s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise NotInstalledError(f"{argv[0]} fails: {' '.join(last)}") from None
    return done.stdout + done.stderr


def _once(name: str, sources: Sequence[Path], install: Callable[[], None]) -> None:
    """Install unless it was done from the same sources."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = FOLDER / f".{name}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one installation at a time
        if stamp.exists() and stamp.read_text() == digest:
            return
        print(f"Installing {name} into {FOLDER.relative_to(ROOT)}", file=sys.stderr, flush=True)
        stamp.unlink(missing_ok=True)
        install()
        stamp.write_text(digest)


def compiled(name: str) -> Path:
    """One of the project's own C programs.

    Raises:
        NotInstalledError: there is no C compiler.
    """
    source, program = SOURCE / f"{name}.c", FOLDER / name

    def install() -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise NotInstalledError("there is no C compiler (Debian: apt-get install gcc)")
        run([compiler, "-O2", "-Wall", "-o", program, source])

    _once(name, [source], install)
    return program


def python() -> Path:
    """The interpreter of the peers in Python.

    Raises:
        NotInstalledError: their packages cannot be had.
    """
    requirements, place = SOURCE / "requirements.txt", FOLDER / "python"

    def install() -> None:
        uv = ROOT / ".tools" / "bin" / "uv"
        env = {"UV_CACHE_DIR": str(ROOT / ".tools" / "uv-cache"), "UV_PYTHON_DOWNLOADS": "never"}
        if index := os.environ.get("PIP_INDEX_URL"):
            env.setdefault("UV_DEFAULT_INDEX", index)
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, place], env=env)
        interpreter = str(place / "bin" / "python")
        run([uv, "pip", "install", "--python", interpreter, "-r", requirements], env=env)

    _once("python", [requirements], install)
    return place / "bin" / "python"


def node() -> Path:
    """The folder in which better-sse is installed.

    Raises:
        NotInstalledError: there is no Node.js, or it cannot be had.
    """
    package, place = SOURCE / "package.json", FOLDER / "node"

    def install() -> None:
        run(["node", "--version"])
        place.mkdir(exist_ok=True)
        shutil.copy(package, place)
        run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=place)

    _once("better-sse", [package], install)
    return place


def nchan() -> tuple[Path, Path]:
    """nginx and its Nchan module: Debian's packages, only unpacked. No service is started.

    Raises:
        NotInstalledError: they cannot be had, or do not run here.
    """
    place = FOLDER / "nchan"
    program = place / "usr" / "sbin" / "nginx"
    module = place / "usr" / "lib" / "nginx" / "modules" / "ngx_nchan_module.so"

    def install() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            run(["apt-get", "-qq", "download", *NCHAN], cwd=place)
        except NotInstalledError:
            if os.getuid() != 0:
                raise
            run(["apt-get", "-qq", "update"])  # the list of packages may be old, or empty
            run(["apt-get", "-qq", "download", *NCHAN], cwd=place)
        for package in place.glob("*.deb"):
            run(["dpkg-deb", "-x", package, place])
        # Nchan makes this folder of the system, whatever its configuration says (its own setting
        # for it is refused as a duplicate): our copy takes one below nginx's prefix instead.
        code = module.read_bytes()
        module.write_bytes(code.replace(b"/var/lib/nginx/body\0", b"nchan-message-files\0"))
        for file in (program, module):
            missing = [line for line in run(["ldd", file]).splitlines() if "not found" in line]
            if missing:
                raise NotInstalledError(f"libraries are missing: {missing[0].split()[0]}")

    _once("nchan", [SOURCE / "nchan.conf", Path(__file__)], install)
    return program, module


def versions(names: Sequence[str]) -> dict[str, str]:
    """What the peers of these names are, exactly."""
    known: dict[str, Callable[[], str]] = {
        "c": lambda: run(["gcc", "--version"]).splitlines()[0],
        "starlette": lambda: _packages("sse-starlette", "starlette", "uvicorn", "uvloop"),
        "aiohttp-sse": lambda: _packages("aiohttp-sse", "aiohttp", "uvloop"),
        "better-sse": _better_sse,
        "nchan": _nchan,
    }
    found = {}
    for name in names:
        try:
            found[name] = known[name]()
        except NotInstalledError as error:
            found[name] = f"not installed: {error}"
    return found


def _packages(*names: str) -> str:
    program = (
        "import sys; from importlib.metadata import version;"
        " print(*(f'{n} {version(n)}' for n in sys.argv[1:]), sep=', ', end='');"
        " print(', Python', sys.version.split()[0])"
    )
    return run([python(), "-c", program, *names]).strip()


def _nchan() -> str:
    nchan()
    packages = sorted(package.stem for package in (FOLDER / "nchan").glob("*.deb"))
    return ", ".join(packages).replace("%3a", ":")


def _better_sse() -> str:
    package = json.loads((node() / "node_modules" / "better-sse" / "package.json").read_text())
    return f"better-sse {package['version']}, Node.js {run(['node', '--version']).strip()}"
