"""The ISO's dispatch web service as bytes: SOAP calls, dispatch batches, hours of market days. Pure, and nobody's ISO.

It follows the shape that the public clients of such a service share (pull by last batch UID, a batch as
base64(gzip(XML))); names and namespace are our own.
"""
