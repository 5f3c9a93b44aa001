"""A sweep on a Ray cluster of two machines (processes here), one of which is lost after the first
chunk.
"""

import sys
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from jaxecon.sweeps.listener import SilentSweepListener
from jaxecon.sweeps.ray_executor import RayExecutor
from jaxecon.sweeps.sweep import sweep


def main(config: Path, out: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]

    class Losing(SilentSweepListener):
        lost = False

        def on_chunk(self, points: int, failed: int) -> None:
            if not self.lost:
                cluster.remove_node(machines[0], allow_graceful=False)
                self.lost = True
                print("a machine is lost", flush=True)

    sweep(config, out=out, executor=RayExecutor(cluster.address), chunk_size=3, listener=Losing())
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
