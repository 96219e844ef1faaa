"""PyInstaller's hook for LiteRT, whose libraries are loaded by name."""

from PyInstaller.utils.hooks import collect_dynamic_libs

binaries = collect_dynamic_libs("ai_edge_litert")
