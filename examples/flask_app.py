"""A web service that recognizes the faces in a picture. One recognizer serves all threads, in turn.

pip install flask
python flask_app.py [PORT] & curl --data-binary @party.jpg http://127.0.0.1:5000/faces
"""

import sys
from typing import Any

import cv2
import flask
import numpy as np

import fer_edge

app = flask.Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 20_000_000
recognizer = fer_edge.Recognizer()


@app.post("/faces")
def faces() -> Any:
    """Answer with box, emotion, doubt and probabilities of each face in the picture that was sent."""
    sent = np.frombuffer(flask.request.get_data(), np.uint8)
    picture = cv2.imdecode(sent, cv2.IMREAD_COLOR) if len(sent) else None
    if picture is None:
        return {"error": "not a picture that OpenCV can read"}, 400
    return [
        {
            "box": face.box,
            "emotion": face.emotion,
            "unsure": face.unsure,
            "probabilities": dict(zip(fer_edge.EMOTIONS, face.probabilities.tolist(), strict=True)),
        }
        for face in recognizer.recognize(picture)
    ]


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 5000, threaded=True)
