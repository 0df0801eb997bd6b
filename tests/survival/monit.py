"""Debian's own Monit for each release, fetched by apt and unpacked into the cache; no root is built anew for it."""

import glob
import os
import shutil
import subprocess

import provision
import roots

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def directory(release):
    """Where the unpacked package of a release lies; fetched if it is not there. A release that has no Monit gets the
    next newer one's; CalledProcessError when none can be fetched."""
    place = os.path.join(provision.CACHE, "monit", release)
    if not os.path.isdir(place):
        shutil.rmtree(place + ".new", ignore_errors=True)
        try:
            _fetch(release, place + ".new")
        except subprocess.CalledProcessError:
            if release == "sid":
                raise
            _fetch("sid", place + ".new")
        os.rename(place + ".new", place)
    return place


def version(place):
    """The Monit version in `place`, e.g. "5.33.0"."""
    names = glob.glob(os.path.join(place, "monit_*.deb"))
    return os.path.basename(names[0]).split("_")[1].replace("%3a", ":").split(":")[-1].split("-")[0] if names else ""


def put_into(machine, release):
    """Copies Monit into a machine that is not booted yet."""
    source = os.path.join(directory(release), "root")
    for name in ("usr/bin/monit", "usr/sbin/monit"):
        if os.path.exists(os.path.join(source, name)):
            shutil.copy(os.path.join(source, name), machine.path("/usr/local/bin/monit"))
            return
    raise FileNotFoundError("no monit in " + source)


def _fetch(release, place):
    """apt-get, kept to directories of its own, so that this host's package lists stay as they are."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "root"):
        os.makedirs(os.path.join(place, name))
    mirror = roots.mirror() or "http://deb.debian.org/debian"
    with open(os.path.join(place, "etc", "sources.list"), "w") as file:
        file.write("deb [signed-by=%s] %s %s main\n" % (KEYRING, mirror, release))
    open(os.path.join(place, "status"), "w").close()
    options = ["-o", "Dir::Etc=" + place + "/etc", "-o", "Dir::Etc::sourceparts=/dev/null",
               "-o", "Dir::State=" + place + "/state", "-o", "Dir::Cache=" + place + "/cache",
               "-o", "Dir::State::status=" + place + "/status", "-o", "Acquire::Check-Valid-Until=false",
               "-o", "APT::Sandbox::User=root"]
    for words in (["update"], ["download", "monit"]):
        subprocess.check_call(["apt-get", "-q"] + options + words, cwd=place, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    subprocess.check_call(["dpkg-deb", "-x", glob.glob(os.path.join(place, "monit_*.deb"))[0], place + "/root"])
    shutil.rmtree(os.path.join(place, "state"))
    shutil.rmtree(os.path.join(place, "cache"))
