"""What differs between Azure's clouds, told by the address of a resource."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Cloud:
    """The names of one cloud.

    `cognitive_services` and `event_grid` are the audiences of the identity's tokens, `storage` is the end of a storage
    account's address. (Storage's own audience is the same in all clouds.)
    """

    cognitive_services: str
    event_grid: str
    storage: str


PUBLIC = Cloud("https://cognitiveservices.azure.com", "https://eventgrid.azure.net", "core.windows.net")
US_GOVERNMENT = Cloud("https://cognitiveservices.azure.us", "https://eventgrid.azure.us", "core.usgovcloudapi.net")
CHINA = Cloud("https://cognitiveservices.azure.cn", "https://eventgrid.azure.cn", "core.chinacloudapi.cn")

_ENDINGS = {
    ".azure.us": US_GOVERNMENT,
    ".microsoft.us": US_GOVERNMENT,
    ".usgovcloudapi.net": US_GOVERNMENT,
    ".azure.cn": CHINA,
    ".microsoft.cn": CHINA,
    ".chinacloudapi.cn": CHINA,
}


def cloud_of(endpoint: str) -> Cloud:
    """The cloud of a resource. An address of one's own, such as a gateway's, counts as the public cloud."""
    host = urlsplit(endpoint).hostname or ""
    return next((cloud for ending, cloud in _ENDINGS.items() if host.endswith(ending)), PUBLIC)
