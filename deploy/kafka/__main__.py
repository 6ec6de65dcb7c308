"""Apache Kafka on this machine, for development: see :mod:`deploy.kafka.nodes`.

python -m deploy.kafka start FOLDER [--nodes 3] [--security]     prints the bootstrap address once the nodes serve
python -m deploy.kafka stop FOLDER                               the data stays, and the next start goes on with it
python -m deploy.kafka jars                                      only fetches what it takes
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.kafka.java import Unavailable, jars
from deploy.kafka.layout import make
from deploy.kafka.nodes import Cluster


def _start(folder: Path, nodes: int, *, security: bool) -> None:
    cluster = Cluster(folder) if (folder / "cluster.json").exists() else make(folder, nodes, security=security)
    if (len(cluster.nodes), bool(cluster.users)) != (nodes, security):
        raise Unavailable(f"{folder} holds another kind of cluster. Stop that and remove the folder, or name another folder.")
    try:
        cluster.start()
    except BaseException:
        cluster.kill()
        raise
    print(cluster.bootstrap)
    if security:
        print(f"SASL_SSL: {cluster.secure_bootstrap}, CA in {cluster.ca}, users in {folder}/cluster.json", file=sys.stderr)


def main() -> int:
    """Return the exit code: 1 when there is no Kafka to be had."""
    parser = argparse.ArgumentParser(description="Apache Kafka on loopback, in a folder.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("jars", help="fetch what it takes")
    start = verbs.add_parser("start", help="print the bootstrap address once the nodes serve")
    start.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    start.add_argument("--security", action="store_true", help="listen with SASL_SSL too; users stand in cluster.json")
    stop = verbs.add_parser("stop", help="stop the nodes; the data stays")
    guard = verbs.add_parser("guard", help="kill the nodes when standard input ends")
    for verb in (start, stop, guard):
        verb.add_argument("folder", type=Path)
    asked = parser.parse_args()
    try:
        match asked.verb:
            case "jars":
                jars()
            case "start":
                _start(asked.folder, asked.nodes, security=asked.security)
            case "stop":
                Cluster(asked.folder).stop()
            case "guard":
                cluster = Cluster(asked.folder)
                sys.stdin.read()
                cluster.kill()
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
