"""Speech from text: by a service that speaks OpenAI's API, by Piper, or by eSpeak NG."""
