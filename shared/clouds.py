"""What differs between Azure's clouds, told by the address of a resource."""

from typing import NamedTuple
from urllib.parse import urlsplit


class Cloud(NamedTuple):
    """The audiences of the identity's tokens (storage's is the same everywhere), and storage's domain."""

    cognitive_services: str
    event_grid: str
    storage: str


PUBLIC = Cloud("https://cognitiveservices.azure.com", "https://eventgrid.azure.net", "core.windows.net")
US_GOVERNMENT = Cloud("https://cognitiveservices.azure.us", "https://eventgrid.azure.us", "core.usgovcloudapi.net")
CHINA = Cloud("https://cognitiveservices.azure.cn", "https://eventgrid.azure.cn", "core.chinacloudapi.cn")


def cloud_of(endpoint: str) -> Cloud:
    """The cloud of a resource. An address of one's own, such as a gateway's, counts as the public cloud."""
    host = urlsplit(endpoint).hostname or ""
    if host.endswith((".azure.us", ".microsoft.us", ".usgovcloudapi.net")):
        return US_GOVERNMENT
    if host.endswith((".azure.cn", ".microsoft.cn", ".chinacloudapi.cn")):
        return CHINA
    return PUBLIC
