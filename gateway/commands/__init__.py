"""The commands of `seiketsu`: one file for each group."""
