"""A large file that every version of Phoenix accepts as an upload."""

import http.client
import io
import json
import wave

_RATE_HZ = 48_000
_BYTES_PER_S = _RATE_HZ * 2 * 2


def upload_sound(connection: http.client.HTTPConnection, size_bytes: int) -> str:
    """Uploads a silent WAV of about this size. The path of its content."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((2, 2, _RATE_HZ, 0, "NONE", ""))
        file.writeframes(bytes(size_bytes - size_bytes % 4))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="sound.wav"\r\n\r\n'
    body = head + sound.getvalue() + b"\r\n--x--\r\n"
    connection.request("POST", "/v1/uploads", body, {"Content-Type": "multipart/form-data; boundary=x"})
    artifact = json.loads(connection.getresponse().read())
    return f"/v1/artifacts/{artifact['id']}/content"
