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
    (probabilities,) = classifier.predict(faces)
    best = int(probabilities.argmax())
    print(f"{name}: {fer_edge.EMOTIONS[best]} {probabilities[best]:.0%}")
