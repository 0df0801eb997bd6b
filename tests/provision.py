"""What the tests need and a fresh Debian lacks: Debian packages, a venv with pytest and ruff, wheels for other Pythons.

All of it is kept outside the tree, in CACHE, and found again by the next run. Nothing here starts a service or leaves
one enabled on the host.
"""

import glob
import os
import shutil
import subprocess

CACHE = os.environ.get("CITADEL_TESTS_CACHE", "/var/cache/citadel-tests")

RUFF = os.path.join(CACHE, "venv", "bin", "ruff")

LIVE_PACKAGES = ("systemd", "systemd-container", "dbus", "redis-server", "cron", "logrotate", "procps", "iproute2",
                 "util-linux", "python3-venv", "ca-certificates")
MATRIX_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
MINORS = range(6, 15)

# pip looks at the environment markers of the Python that it runs on, not of the one it downloads for, so what older
# Pythons need besides is named here.
PYTEST = ("pytest", "tomli", "typing-extensions")
PYTEST_BEFORE_3_8 = ("importlib-metadata",)
PYTEST_FROM_3_7 = ("exceptiongroup",)
# Unpacked into the cache and run from there; they are neither installed nor started by their packages.
MONITORING = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
UVICORN = ("uvicorn", "click", "h11", "typing-extensions")


def debian_packages(names):
    """Installs those of `names` that are missing, with their services neither started nor enabled."""
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return
    print("installing " + " ".join(missing), flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    policy = "/usr/sbin/policy-rc.d"            # asked by every package before it starts its service; 101 is "don't"
    ours = not os.path.exists(policy)
    if ours:
        with open(policy, "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        subprocess.check_call(["apt-get", "-q", "update"], env=environment, stdout=subprocess.DEVNULL)
        subprocess.check_call(["apt-get", "-q", "-y", "install", "--no-install-recommends"] + missing,
                              env=environment, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            os.remove(policy)
    for service in ("redis-server", "cron"):
        if service in missing:
            subprocess.call(["systemctl", "--quiet", "disable", service + ".service"], stderr=subprocess.DEVNULL)


def _installed(name):
    answer = subprocess.run(["dpkg-query", "--show", "--showformat=${Status}", name], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    return answer.stdout == b"install ok installed"


def venv():
    """The Python that runs the live tests: Debian's own, with pytest and a pip that can fetch for other Pythons."""
    python = os.path.join(CACHE, "venv", "bin", "python")
    if not os.path.exists(os.path.join(CACHE, "venv", "complete")):
        shutil.rmtree(os.path.join(CACHE, "venv"), ignore_errors=True)
        subprocess.check_call(["/usr/bin/python3", "-m", "venv", os.path.join(CACHE, "venv")])
        _pip(["install", "--upgrade", "pip"])
        _pip(["install", "pytest"])
        open(os.path.join(CACHE, "venv", "complete"), "w").close()
    return python


def ruff():
    """ruff in that venv; fetched where it is not there yet."""
    venv()
    if not os.path.exists(RUFF):
        _pip(["install", "ruff"])
    return RUFF


def ruff_here():
    """A ruff that needs not be fetched, or None."""
    return RUFF if os.access(RUFF, os.X_OK) else shutil.which("ruff")


def pytest_for(minor, python=None):
    """A directory that, on PYTHONPATH, gives Python 3.`minor` a pytest; `python` compiles it if there is one here."""
    names = PYTEST + (PYTEST_BEFORE_3_8 if minor < 8 else ()) + (PYTEST_FROM_3_7 if minor > 6 else ())
    return _fetch("pytest", minor, names, python)


def monitoring():
    """A directory with Debian's prometheus, promtool, prometheus-alertmanager, amtool and prometheus-node-exporter in
    its usr/bin."""
    directory = os.path.join(CACHE, "monitoring")
    if not os.path.isdir(directory):
        fresh = directory + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        subprocess.check_call(["apt-get", "-q", "update"], stdout=subprocess.DEVNULL)
        subprocess.check_call(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"] + list(MONITORING),
                              stdout=subprocess.DEVNULL, cwd=fresh)
        for package in glob.glob(os.path.join(fresh, "*.deb")):
            subprocess.check_call(["dpkg-deb", "--extract", package, fresh])
            os.remove(package)
        os.rename(fresh, directory)
    return directory


def uvicorn_for(minor):
    """A directory with uvicorn and what it needs, for Python 3.`minor`."""
    return _fetch("uvicorn", minor, UVICORN)


def pytest_directory(minor):
    """Where pytest_for put it, or None if it has not."""
    directory = os.path.join(CACHE, "pytest", "3.%d" % minor)
    return directory if os.path.isdir(directory) else None


def _fetch(what, minor, names, python=None):
    directory = os.path.join(CACHE, what, "3.%d" % minor)
    if not os.path.isdir(directory):
        shutil.rmtree(directory + ".new", ignore_errors=True)
        _pip(["install", "--target", directory + ".new", "--python-version", "3.%d" % minor, "--only-binary=:all:",
              "--no-compile"] + list(names))
        if python:
            subprocess.call([python, "-m", "compileall", "-q", directory + ".new"])
        os.rename(directory + ".new", directory)
    return directory


def _pip(words):
    subprocess.check_call([os.path.join(CACHE, "venv", "bin", "python"), "-m", "pip", "--quiet",
                           "--disable-pip-version-check"] + words, env=dict(os.environ, PIP_ROOT_USER_ACTION="ignore"))


def pythons():
    """The Pythons of this host, 3.6 to 3.14: {minor: (version, path, has a pytest of its own)}.

    pyenv's are looked at before PATH: its shims on PATH start only the versions that are selected.
    """
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    found = {}
    for minor in MINORS:
        places = glob.glob(os.path.join(pyenv, "versions", "3.%d.*" % minor, "bin", "python"))
        on_path = shutil.which("python3.%d" % minor)
        for path in sorted(places) + ([on_path] if on_path else []):
            about = _about(path)
            if about and about[0].startswith("3.%d." % minor):
                found[minor] = (about[0], path, about[1] == "True")
                break
    return found


def _about(python):
    question = ("import sys, importlib.util as u; "
                "print('%d.%d.%d' % sys.version_info[:3], u.find_spec('pytest') is not None)")
    answer = subprocess.run([python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return answer.stdout.decode().split() if answer.returncode == 0 else None
