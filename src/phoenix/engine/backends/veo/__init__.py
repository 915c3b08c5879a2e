"""Google's Veo, called over the network through the google-genai SDK: paid for by the clip, so never asked twice."""
