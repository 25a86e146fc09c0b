"""`python -m medr1_pacs` is `medr1-pacs`."""

from medr1_pacs.cli import main

main()
