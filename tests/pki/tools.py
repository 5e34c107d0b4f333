"""Other people's programs, as witnesses of what etcdlab's certificates are; and recipes with smaller keys."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

RECIPE = Path(__file__).with_name("recipe")


def openssl(*args: object, check: bool = True) -> str:
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def text(certificate: Path) -> str:
    """`openssl x509 -text` on one line: "X509v3 Key Usage: critical Digital Signature …"."""
    return re.sub(r"\s+", " ", openssl("x509", "-in", certificate, "-noout", "-text"))


def verifies(certificate: Path, ca: Path, *args: str) -> bool:
    return "OK" in openssl("verify", "-x509_strict", "-CAfile", ca, *args, certificate, check=False)


def certinfo(certificate: Path) -> dict:
    """What cfssl reads in a certificate."""
    done = subprocess.run([cfssl(), "certinfo", "-cert", certificate], capture_output=True, check=True)
    return json.loads(done.stdout)


def cfssl() -> str:
    if not (shutil.which("cfssl") and shutil.which("cfssljson")):
        pytest.skip("cfssl is not installed (Debian: golang-cfssl)")
    return "cfssl"


def cfssl_gencert(directory: Path, stem: str, *args: object) -> None:
    """`cfssl gencert ARGS | cfssljson -bare STEM`, in `directory`."""
    made = subprocess.run([cfssl(), "gencert", *map(str, args)], cwd=directory, capture_output=True, check=True)
    subprocess.run(["cfssljson", "-bare", stem], input=made.stdout, cwd=directory, check=True)


def small_recipe(directory: Path) -> Path:
    """The recipe's JSON files with RSA-2048 keys, which take a tenth of the time."""
    directory.mkdir()
    for file in RECIPE.glob("*.json"):
        (directory / file.name).write_text(file.read_text().replace('"size": 4096', '"size": 2048'))
    return directory
