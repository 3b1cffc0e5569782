"""Executes what an image is to run, without a network. Usage: container.py ROOT DESCRIPTION

ROOT is the folder with its files, DESCRIPTION what buildah says of it."""

import json
import os
import sys

root, description = sys.argv[1:]
with open(description) as file:
    config = json.load(file)["OCIv1"]["config"]
environment = dict(line.split("=", 1) for line in config["Env"])
command = ["unshare", "--net", "--root", root, "--wd", "/"] + config["Entrypoint"] + config["Cmd"]
os.execve("/usr/bin/unshare", command, environment)
