"""Open MPI's mpirun on the hub, which starts ranks on the virtual nodes through the cluster's agent, not ssh."""

from .cluster import NETWORK


class OpenMpi:
    """What mpirun has to know here is in its environment, so that others can start it as well."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.environ = {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_plm": "rsh",
            "OMPI_MCA_plm_rsh_agent": cluster.agent,
            "OMPI_MCA_oob_tcp_if_include": f"{NETWORK}.0/24",
            "OMPI_MCA_btl": "self,tcp",
        }

    def mpirun(self, *arguments, hosts="n1:2,n2:2", env=None, **options):
        """Runs mpirun on the hub to its end; `env` is added to its environment, and reaches ranks only by ``-x``."""
        return self.cluster.run("hub", "mpirun", "-H", hosts, *arguments, env=self.environ | (env or {}), **options)

    def start(self, *arguments, hosts="n1:2,n2:2", env=None, **options):
        """Starts mpirun on the hub and returns its Popen."""
        return self.cluster.start("hub", "mpirun", "-H", hosts, *arguments, env=self.environ | (env or {}), **options)
