"""Classify pictures that show one face and little else, without OpenCV.

pip install --no-deps fer-edge && pip install numpy ai-edge-litert pillow
python classify_crops.py faces/*.png
"""

import sys

import numpy as np
from PIL import Image

import fer_edge

classifier = fer_edge.load_classifier()
for name in sys.argv[1:]:
    picture = np.asarray(Image.open(name).convert("L"))
    height, width = picture.shape
    side = min(height, width)
    # The largest square in the middle, averaged to the 48x48 pixels that the classifier takes.
    faces = fer_edge.crop_faces(picture, [[(width - side) / 2, (height - side) / 2, side]])
    answers = classifier.answer(faces)
    code = int(answers.emotions[0])
    share = answers.probabilities[0, code]
    doubt = "unsure, " if answers.unsure[0] else ""
    print(f"{name}: {doubt}{10 * share:.0f} of 10 would say {fer_edge.EMOTIONS[code]}")
