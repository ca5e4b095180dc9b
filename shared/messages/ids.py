"""Ids that the services know things by.

Custom Vision's are UUIDs. Here they are text, in the one notation that both the messages and the API use: 36
characters, lower case, hyphens after the 8th, 12th, 16th and 20th digit. So an id goes from a message to a URL and is
found again in the answer without being taken apart, and its hash is computed once, not in Python six times.
"""

from typing import NewType

ProjectId = NewType("ProjectId", str)
ImageId = NewType("ImageId", str)
ID_CHARACTERS = 36
