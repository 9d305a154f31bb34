"""XMP packets: a few simple properties as XML, and back from whatever somebody made of them.

Adobe, "XMP Specification Part 1" (ISO 16684-1). Read by expat's events: no tree, no entities, no documents that define
any. Only simple properties of the top level are seen, as elements or as attributes.
"""

from collections.abc import Mapping
from typing import Any
from xml.parsers import expat  # nosec B407  # document types and entities are refused below

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMPMETA = "adobe:ns:meta/"
PREFIXES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
MAX_DEPTH = 32
"""Elements within elements, beyond which no packet of a picture goes."""

_PATH = [f"{XMPMETA} xmpmeta", f"{RDF} RDF", f"{RDF} Description"]


class BrokenPacketError(ValueError):
    """Not well-formed, not UTF-8, or with a document type."""


def write_packet(properties: Mapping[str, str]) -> bytes:
    """A read-only packet of simple properties, `prefix:Name` each, in the order given. The same bytes each time.

    Characters that XML cannot say become U+FFFD.
    """
    namespaces = " ".join(f'xmlns:{prefix}="{PREFIXES[prefix]}"' for prefix in sorted({_prefix(n) for n in properties}))
    lines = "".join(f"\n   <{name}>{escaped(text)}</{name}>" for name, text in properties.items())
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        f'<x:xmpmeta xmlns:x="{XMPMETA}">\n <rdf:RDF xmlns:rdf="{RDF}">\n'
        f'  <rdf:Description rdf:about="" {namespaces}>{lines}\n  </rdf:Description>\n'
        ' </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="r"?>'
    )
    return text.encode()


def escaped(text: str) -> str:
    """As an element's content, from which a parser reads exactly this text."""
    clean = "".join(character if _can_be_said(character) else "\ufffd" for character in text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def read_packet(packet: bytes) -> dict[str, str]:
    """The simple properties in our namespaces, by `prefix:Name`; of one that is there twice, the first.

    Raises:
        BrokenPacketError: it is none, or one that could do harm.
    """
    reader = _Reader()
    try:
        text = packet.decode().lstrip("\ufeff")
        reader.parser.Parse(text.encode(), True)
    except (UnicodeDecodeError, expat.ExpatError) as error:
        raise BrokenPacketError(type(error).__name__) from error
    return reader.properties


class _Reader:
    """What to do at each of expat's events."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] | None = None
        self.parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = [] if self._path == _PATH else None
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            self._refuse()
        if self._path == _PATH:
            for attribute, text in attributes.items():
                self._keep(attribute, text)

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._text is not None:
            self._keep(name, "".join(self._text))
        self._text = None

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _keep(self, name: str, text: str) -> None:
        namespace, _, local = name.rpartition(" ")
        prefix = next((prefix for prefix, known in PREFIXES.items() if known == namespace), None)
        if prefix is not None:
            self.properties.setdefault(f"{prefix}:{local}", text)

    def _refuse(self, *_: Any) -> None:
        raise BrokenPacketError("a document type, an entity or no end of elements")


def _prefix(name: str) -> str:
    return name.partition(":")[0]


def _can_be_said(character: str) -> bool:
    """XML 1.0's Char."""
    return (
        character in "\t\n\r"
        or " " <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000"
    )
