"""Did everything that was requested arrive, and does a capture agree with itself?"""
