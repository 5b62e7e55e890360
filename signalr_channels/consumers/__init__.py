"""One consumer per transport: thin, translating ASGI events into connections and back."""
