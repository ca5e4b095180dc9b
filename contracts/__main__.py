"""`python -m contracts`: write docs/contracts anew from the models."""

from contracts.documents import FOLDER, documents


def main() -> None:
    """Write the documents that are not current, and remove those that there are no more."""
    FOLDER.mkdir(exist_ok=True)
    wanted = documents()
    for file in FOLDER.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
            print(f"removed {file.name}")
    for name, text in wanted.items():
        file = FOLDER / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            print(f"wrote {name}")
    print(f"{len(wanted)} documents in {FOLDER.name} are current")


if __name__ == "__main__":
    main()
