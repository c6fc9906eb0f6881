"""Did what was asked for arrive, and does a capture agree with itself?"""
