"""`/api/v1`: what programs ask for; one router a noun. Errors are `{"detail": ...}`."""
