"""A dataset's card as Croissant 1.0 metadata (http://mlcommons.org/croissant/1.0): what others' tools read."""

from __future__ import annotations

import re
from typing import Any

from catalogue.card import Column, DatasetCard

FILE = "croissant.json"
_TYPES = {"number": "sc:Float", "integer": "sc:Integer", "text": "sc:Text", "time": "sc:DateTime"}
# The context that the specification gives, for the words that are used here.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "rai:dataBiases",
    "dataCollection": "rai:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "rai:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(card: DatasetCard) -> dict[str, Any]:
    """The metadata as JSON-LD.

    Args:
        card: the dataset's card; the texts are its English ones.
    """
    table = card.files[0]
    fields = []
    for column in card.columns:
        if isinstance(column, Column):
            unit = f" ({column.unit})" if column.unit else ""
            fields.append(_field(column.name, column.meaning.en + unit, column.type, table.name))
        else:
            # One field each: Croissant has no notation for a row of like columns.
            fields += [
                _field(f"{column.prefix}{number}", column.meaning.en, column.type, table.name)
                for number in range(column.count)
            ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": card.id,
        "description": f"{card.title.en}. {card.summary.en}",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": f"{card.version}.0.0" if card.version.isdigit() else card.version,
        "license": f"https://spdx.org/licenses/{card.licence}.html",
        "url": card.home,
        "citeAs": card.cite,
        "creator": [{"@type": "sc:Organization", "name": name} for name in card.creators],
        "datePublished": card.published,
        "inLanguage": "en",
        "dataCollection": card.origin.en,
        "dataBiases": card.bias.en,
        "personalSensitiveInformation": card.personal_data.en,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.size} B",
                "encodingFormat": file.media_type,
                "sha256": file.sha256,
            }
            for file in card.files
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }


def _field(name: str, meaning: str, kind: str, file: str) -> dict[str, Any]:
    # An id holds no spaces.
    known = "rows/" + re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")
    return {
        "@type": "cr:Field",
        "@id": known,
        "name": known,
        "description": meaning,
        "dataType": _TYPES[kind],
        "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
    }
