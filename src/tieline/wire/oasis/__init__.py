"""Price reports in the manner of CAISO's OASIS: what is asked for, and a zip that holds it or says why not.

Pure. Names of parameters, columns and elements follow that service's public interface specification.
"""
